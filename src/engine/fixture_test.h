// Programs, libraries and patches that a test compiles for itself. The patch linker here is a small
// one, for position-independent C of one file; the product's is the builder's.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "engine/engine.h"
#include "patchfmt/patch.h"

namespace livecare::engine::testing {

// Compiles sources into a directory of the test; asserts that it works.
class Workshop {
 public:
  Workshop();
  std::filesystem::path path(const std::string& name) const { return directory_.path() / name; }
  // flags come after -O2 -g0 -fPIC.
  std::filesystem::path library(const std::string& name, const std::string& source,
                                const std::string& flags = "");
  std::filesystem::path program(const std::string& name, const std::string& source,
                                const std::string& flags = "");
  std::filesystem::path object(const std::string& name, const std::string& source,
                               const std::string& flags = "");
  void shell(const std::string& command);

 private:
  std::filesystem::path compile(const std::string& name, const std::string& source,
                                const std::string& flags);
  TemporaryDirectory directory_;
};

// A patch of `target` (an unstripped file of the test). `source` holds the new functions: a
// function `f` replaces the target's function `f` when `f` is in `replaced`; other names are new.
// Undefined names are the target's symbols, local ones included, or else imports.
patchfmt::Object make_object(Workshop& workshop, const std::filesystem::path& target,
                             const std::string& source, const std::vector<std::string>& replaced,
                             const std::string& flags = "");
patchfmt::Patchset make_patchset(std::vector<patchfmt::Object> objects, uint32_t level = 1,
                                 const std::string& name = "U1");

// A child of the test that answers lines: write "x\n", read the answer. Killed at the end.
class Subject {
 public:
  explicit Subject(std::vector<std::string> arguments);
  ~Subject();
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  pid_t pid() const { return pid_; }
  std::string ask(const std::string& line);
  void send(const std::string& line);
  std::string read_line();
  bool alive() const;
  void kill(int signal) const;
  uint64_t virtual_bytes() const;
  size_t mappings() const;

 private:
  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
};

}  // namespace livecare::engine::testing
