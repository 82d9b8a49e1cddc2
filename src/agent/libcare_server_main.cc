// libcare-server: the only program of livecare that uses ptrace, so that audit rules find it by its
// name. Reads one request on standard input, answers in JSON lines on standard output, exits.
//
// A front end that dies, or Ctrl-C on the terminal, must not leave a process half patched: the
// signals that would end this program are blocked and looked at between two processes.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "agent/request.h"
#include "agent/server.h"
#include "agent/version.h"
#include "engine/engine.h"

namespace {

using namespace livecare;

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, signal);
  return set;
}

bool ending_signal_is_pending() {
  sigset_t pending, ending = ending_signals();
  sigpending(&pending);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
    if (sigismember(&pending, signal) == 1 && sigismember(&ending, signal) == 1) return true;
  return false;
}

std::string read_request() {
  std::string text;
  char buffer[65536];
  for (;;) {
    ssize_t got = ::read(0, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || text.size() > agent::request_bytes_max) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
}

void write_line(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    write_line("libcare-server " + std::string(agent::version()));
    return 0;
  }
  if (argc != 1) {
    std::fputs("libcare-server: takes a request on standard input; use libcare-ctl or kcarectl\n",
               stderr);
    return 2;
  }
  // Beyond the limit parse_request fails on the cut text; reading stops there.
  std::string request = read_request();
  sigset_t ending = ending_signals();
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  signal(SIGPIPE, SIG_IGN);
  agent::EngineCalls engine{engine::patch, engine::unpatch, engine::info, engine::loaded_objects};
  return agent::serve(request, engine, {write_line, ending_signal_is_pending});
}
