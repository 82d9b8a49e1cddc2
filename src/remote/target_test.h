// Programs for the tests of this room: written by the test, compiled by gcc, started as children.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace livecare::remote {

// A child process running a C program compiled from `source`. Killed and reaped with the object.
class Target {
 public:
  // arguments are given to the compiler after the source ("-static", "-lpthread").
  static Target start(const std::string& source, const std::vector<std::string>& arguments = {});
  Target(Target&& other) noexcept;
  Target& operator=(Target&&) = delete;
  ~Target();

  pid_t pid() const { return pid_; }
  // The next line that the program prints, within five seconds; "" otherwise.
  std::string line(int timeout_ms = 5000);
  void send(const std::string& text);  // to its standard input
  // Wait status, or -1 when it still runs after the time.
  int wait(int timeout_ms = 5000);

 private:
  Target() = default;
  pid_t pid_ = -1;
  int from_ = -1;
  int to_ = -1;
  std::string buffer_;
  std::string directory_;
};

// The state letter of /proc/PID/stat.
char state_of(pid_t pid);

}  // namespace livecare::remote
