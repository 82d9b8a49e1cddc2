#include "engine/fixture_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/process.h"
#include "remote/maps.h"
#include "remote/status.h"

namespace livecare::engine::testing {

Workshop::Workshop() : directory_(*TemporaryDirectory::make("engine-test")) {}

void Workshop::shell(const std::string& command) {
  auto result = run({.arguments = {"sh", "-c", command}, .directory = directory_.path()});
  ASSERT_TRUE(result.ok()) << result.error().text();
  ASSERT_EQ(result->exit_code, 0) << command << "\n" << result->errors;
}

std::filesystem::path Workshop::compile(const std::string& name, const std::string& source,
                                        const std::string& flags) {
  std::string suffix = source.find("// C++") != std::string::npos ? ".cpp" : ".c";
  std::string compiler = suffix == ".c" ? "gcc" : "g++";
  std::ofstream(path(name + suffix)) << source;
  shell(compiler + " -O2 -g0 -fPIC " + name + suffix + " -o " + name + " " + flags);
  return path(name);
}

std::filesystem::path Workshop::library(const std::string& name, const std::string& source,
                                        const std::string& flags) {
  return compile(name, source, "-shared -Wl,-soname," + name + " -Wl,--build-id " + flags);
}

std::filesystem::path Workshop::program(const std::string& name, const std::string& source,
                                        const std::string& flags) {
  return compile(name, source, "-Wl,--build-id " + flags);
}

std::filesystem::path Workshop::object(const std::string& name, const std::string& source,
                                       const std::string& flags) {
  return compile(name, source, "-c -ffunction-sections -fdata-sections " + flags);
}

patchfmt::Patchset make_patchset(std::vector<patchfmt::Object> objects, uint32_t level,
                                 const std::string& name) {
  patchfmt::Patchset patchset;
  patchset.name = name;
  patchset.level = level;
  patchset.time = "2026-11-22 04:30:00";
  patchfmt::Fix fix;
  fix.name = "fix.patch";
  fix.cves = {"CVE-2026-" + std::to_string(level)};
  patchset.fixes.push_back(fix);
  patchset.objects = std::move(objects);
  return patchset;
}

Subject::Subject(std::vector<std::string> arguments) {
  int to[2], from[2];
  EXPECT_EQ(pipe2(to, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(from, O_CLOEXEC), 0);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(to[0], 0);
    dup2(from[1], 1);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  to_ = to[1];
  from_ = from[0];
  EXPECT_EQ(read_line(), "ready");
}

Subject::~Subject() {
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(to_);
  close(from_);
}

void Subject::send(const std::string& line) {
  std::string text = line + "\n";
  EXPECT_EQ(write(to_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

std::string Subject::read_line() {
  std::string line;
  for (;;) {
    pollfd ready{from_, POLLIN, 0};
    if (poll(&ready, 1, 20'000) != 1) return line + "(no answer)";
    char c = 0;
    if (read(from_, &c, 1) != 1) return line + "(end)";
    if (c == '\n') return line;
    line += c;
  }
}

std::string Subject::ask(const std::string& line) {
  send(line);
  return read_line();
}

bool Subject::alive() const {
  return waitpid(pid_, nullptr, WNOHANG) == 0;
}

void Subject::kill(int signal) const {
  ::kill(pid_, signal);
}

uint64_t Subject::virtual_bytes() const {
  auto status = remote::read_status(pid_);
  return status.ok() ? status->virtual_bytes : 0;
}

size_t Subject::mappings() const {
  auto maps = remote::Maps::read(pid_);
  return maps.ok() ? maps->all().size() : 0;
}

}  // namespace livecare::engine::testing
