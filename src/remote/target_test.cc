#include "remote/target_test.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/process.h"
#include "remote/status.h"

namespace livecare::remote {

Target Target::start(const std::string& source, const std::vector<std::string>& arguments) {
  Target target;
  auto directory = TemporaryDirectory::make("remote_target");
  LIVECARE_ASSERT(directory.ok());
  std::string program = (directory->path() / "target").native();
  std::string file = program + ".c";
  std::ofstream(file) << source;
  Command command;
  command.arguments = {"gcc", "-O1", "-g0", "-D_GNU_SOURCE", "-o", program, file, "-pthread"};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  auto built = run_checked(command);
  LIVECARE_ASSERT(built.ok() || (fmt::print("{}\n", built.error().text()), false));
  int out[2], in[2];
  LIVECARE_ASSERT(::pipe2(out, O_CLOEXEC) == 0 && ::pipe2(in, O_CLOEXEC) == 0);
  target.pid_ = ::fork();
  LIVECARE_ASSERT(target.pid_ >= 0);
  if (target.pid_ == 0) {
    ::setpgid(0, 0);  // so that its children end with it
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::execl(program.c_str(), program.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(in[0]);
  target.from_ = out[0];
  target.to_ = in[1];
  std::string first = target.line();
  LIVECARE_ASSERT(first == "ready");  // every target says so when it is set up
  return target;
}

Target::Target(Target&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      from_(std::exchange(other.from_, -1)),
      to_(std::exchange(other.to_, -1)),
      buffer_(std::move(other.buffer_)) {}

Target::~Target() {
  if (pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (from_ >= 0) ::close(from_);
  if (to_ >= 0) ::close(to_);
}

std::string Target::line(int timeout_ms) {
  uint64_t end = monotonic_us() + static_cast<uint64_t>(timeout_ms) * 1000;
  for (;;) {
    size_t newline = buffer_.find('\n');
    if (newline != std::string::npos) {
      std::string text = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      return text;
    }
    uint64_t now = monotonic_us();
    pollfd waiting{from_, POLLIN, 0};
    int left_ms = now < end ? static_cast<int>((end - now) / 1000) + 1 : 0;
    if (::poll(&waiting, 1, left_ms) <= 0) return "";
    char bytes[4096];
    ssize_t got = ::read(from_, bytes, sizeof(bytes));
    if (got <= 0) return "";
    buffer_.append(bytes, static_cast<size_t>(got));
  }
}

void Target::send(const std::string& text) {
  LIVECARE_ASSERT(::write(to_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

int Target::wait(int timeout_ms) {
  for (int waited = 0; waited <= timeout_ms; ++waited) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return status;
    }
    ::usleep(1000);
  }
  return -1;
}

char state_of(pid_t pid) {
  auto status = read_status(pid);
  return status.ok() ? status->state : '?';
}

}  // namespace livecare::remote
