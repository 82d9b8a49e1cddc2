#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <fstream>

#include "base/fd.h"

namespace livecare {

namespace {

constexpr size_t command_output_bytes_max = size_t{256} << 20;
constexpr size_t quoted_lines_max = 12;

struct Pipe {
  Fd read_end;
  Fd write_end;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", "cannot create", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

[[noreturn]] void become(const Command& command, int in, int out, int err, int report) {
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  ::signal(SIGPIPE, SIG_DFL);
  if (int failure = command.in_child ? command.in_child() : 0; failure != 0) {
    (void)!::write(report, &failure, sizeof(failure));
    ::_exit(127);
  }
  if (!command.directory.empty() && ::chdir(command.directory.c_str()) != 0) {
    int failure = errno;
    (void)!::write(report, &failure, sizeof(failure));
    ::_exit(127);
  }
  for (const auto& [name, value] : command.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const auto& argument : command.arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  int failure = errno;
  (void)!::write(report, &failure, sizeof(failure));
  ::_exit(127);
}

void drain(Fd& fd, std::string& into) {
  char buffer[65536];
  ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) {
    fd.reset();
    return;
  }
  size_t room = command_output_bytes_max - std::min(command_output_bytes_max, into.size());
  into.append(buffer, std::min(static_cast<size_t>(got), room));
}

void feed(Fd& fd, const std::string& input, size_t& done) {
  if (done < input.size()) {
    ssize_t put = ::write(fd.get(), input.data() + done, input.size() - done);
    if (put < 0 && errno != EINTR && errno != EAGAIN) done = input.size();
    if (put > 0) done += static_cast<size_t>(put);
  }
  if (done == input.size()) fd.reset();
}

std::string last_lines(const std::string& text) {
  size_t position = text.size();
  while (position > 0 && text[position - 1] == '\n') --position;
  std::string trimmed = text.substr(0, position);
  for (size_t lines = 0; lines < quoted_lines_max && position != std::string::npos; ++lines)
    position = position == 0 ? std::string::npos : trimmed.rfind('\n', position - 1);
  return position == std::string::npos ? trimmed : trimmed.substr(position + 1);
}

// Children before their children, so that what a killed shell would start next is never started.
void kill_tree(pid_t pid) {
  ::kill(pid, SIGSTOP);
  std::string list = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children";
  std::ifstream children(list);
  for (pid_t child = 0; children >> child;) kill_tree(child);
  ::kill(pid, SIGKILL);
}

// Waits until the output ends or a second has gone by; without output to read, until then.
int poll_timeout_ms(const Command& command) {
  return command.keep_going ? 1000 : -1;
}

// Waits for the child's end, asking keep_going meanwhile.
int wait_for(pid_t child, const Command& command, bool& was_ended) {
  int status = 0;
  for (;;) {
    bool asks = command.keep_going && !was_ended;
    pid_t done = ::waitpid(child, &status, asks ? WNOHANG : 0);
    if (done == child || (done < 0 && errno != EINTR)) return status;
    if (!asks || done < 0) continue;
    ::poll(nullptr, 0, 1000);
    if (command.keep_going()) continue;
    was_ended = true;
    kill_tree(child);
  }
}

}  // namespace

Result<CommandResult> run(const Command& command) {
  LIVECARE_ASSERT(!command.arguments.empty());
  const std::string& name = command.arguments[0];
  TRY(Pipe in, make_pipe());
  TRY(Pipe out, make_pipe());
  TRY(Pipe err, make_pipe());
  TRY(Pipe report, make_pipe());
  Fd file;
  if (!command.output_file.empty()) {
    file = Fd(::open(command.output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!file.valid()) return errno_error(command.output_file.native(), "cannot open", errno);
  }
  pid_t child = ::fork();
  if (child < 0) return errno_error(name, "cannot fork", errno);
  if (child == 0) {
    int out_fd = file.valid() ? file.get() : out.write_end.get();
    int err_fd = file.valid() ? file.get() : err.write_end.get();
    become(command, in.read_end.get(), out_fd, err_fd, report.write_end.get());
  }
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  report.write_end.reset();
  ::signal(SIGPIPE, SIG_IGN);
  ::fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);

  CommandResult result;
  size_t fed = 0;
  if (command.input.empty()) in.write_end.reset();
  while (out.read_end.valid() || err.read_end.valid()) {
    pollfd fds[3] = {{out.read_end.get(), POLLIN, 0},
                     {err.read_end.get(), POLLIN, 0},
                     {in.write_end.get(), POLLOUT, 0}};
    int ready = ::poll(fds, 3, result.was_ended ? -1 : poll_timeout_ms(command));
    if (ready < 0 && errno != EINTR) break;
    if (ready == 0 && command.keep_going && !result.was_ended && !command.keep_going()) {
      result.was_ended = true;
      kill_tree(child);
    }
    if (ready <= 0) continue;
    if (fds[0].revents != 0) drain(out.read_end, result.output);
    if (fds[1].revents != 0) drain(err.read_end, result.errors);
    if (fds[2].revents != 0 && in.write_end.valid()) feed(in.write_end, command.input, fed);
  }
  int status = wait_for(child, command, result.was_ended);
  int failure = 0;
  if (::read(report.read_end.get(), &failure, sizeof(failure)) == sizeof(failure))
    return errno_error(name, "cannot start", failure);
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

Result<std::string> run_checked(const Command& command) {
  TRY(CommandResult result, run(command));
  if (result.exit_code != 0) {
    std::string line;
    for (const auto& argument : command.arguments) line += (line.empty() ? "" : " ") + argument;
    std::string quote = command.output_file.empty() ? last_lines(result.errors)
                                                    : "see " + command.output_file.native();
    return make_error(ErrorCode::io, line, "exit code {}: {}", result.exit_code, quote);
  }
  return std::move(result.output);
}

}  // namespace livecare
