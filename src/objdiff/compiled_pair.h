// For tests: source text compiled twice, without and with -DFIX, by gcc and clang at -O2 and -Os,
// with function and data sections and PIC as the builder does, and without both.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/process.h"
#include "objdiff/diff.h"

namespace livecare::objdiff {

struct Toolchain {
  std::string c;
  std::string cxx;
  std::string level;
  bool sections;
  std::string code_model = "-fPIC";

  bool is_gcc() const { return c == "gcc"; }
  friend std::ostream& operator<<(std::ostream& out, const Toolchain& t) {
    return out << t.c << t.level << (t.sections ? " with sections" : " without sections");
  }
};

inline std::string toolchain_name(const testing::TestParamInfo<Toolchain>& info) {
  return (info.param.is_gcc() ? "gcc" : "clang") +
         std::string(info.param.level == "-Os" ? "_Os" : "_O2") +
         (info.param.sections ? "" : "_one_section");
}

inline std::vector<Toolchain> toolchains(bool sections) {
  return {{"gcc", "g++", "-O2", sections},
          {"gcc", "g++", "-Os", sections},
          {"clang-14", "clang++-14", "-O2", sections},
          {"clang-14", "clang++-14", "-Os", sections}};
}

inline std::vector<Toolchain> all_toolchains() {
  std::vector<Toolchain> all = toolchains(true);
  all.push_back({"gcc", "g++", "-O2", false, "-fno-pic"});
  all.push_back({"clang-14", "clang++-14", "-Os", false, "-fno-pic"});
  return all;
}

using Strings = std::vector<std::string>;

class CompiledPair : public testing::TestWithParam<Toolchain> {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::make("objdiff");
    ASSERT_TRUE(made.ok());
    directory_ = std::make_unique<TemporaryDirectory>(std::move(made).value());
  }

  // The name of the source file is t.c, t.cc or t.s.
  elf::Image compile(const std::string& source, const std::string& ending, const Strings& flags) {
    std::string stem = directory_->path() / fmt::format("{}", compiled_++);
    std::filesystem::create_directory(stem);
    std::ofstream(stem + "/t" + ending) << source;
    const Toolchain& t = GetParam();
    Strings command{
        ending == ".c" ? t.c : t.cxx, t.level, t.code_model, "-w", "-c", "t" + ending, "-o", "t.o"};
    if (ending == ".s") command = {t.c, "-c", "t.s", "-o", "t.o"};
    if (t.sections && ending != ".s")
      command.insert(command.end(), {"-ffunction-sections", "-fdata-sections"});
    command.insert(command.end(), flags.begin(), flags.end());
    Command run_it;
    run_it.arguments = command;
    run_it.directory = stem;
    auto done = run_checked(run_it);
    if (!done.ok()) throw std::runtime_error(done.error().text());
    auto image = elf::Image::open(stem + "/t.o");
    if (!image.ok()) throw std::runtime_error(image.error().text());
    return std::move(image).value();
  }

  Diff diff_texts(const std::string& before, const std::string& after, const std::string& ending,
                  Strings flags = {}, const Options& options = {}, Strings fix_flags = {"-DFIX"}) {
    elf::Image original = compile(before, ending, flags);
    flags.insert(flags.end(), fix_flags.begin(), fix_flags.end());
    elf::Image patched = compile(after, ending, flags);
    auto result = diff(original, patched, options);
    if (!result.ok()) throw std::runtime_error(result.error().text());
    return std::move(result).value();
  }

  Diff diff_c(const std::string& source, Strings flags = {}, const Options& options = {}) {
    return diff_texts(source, source, ".c", std::move(flags), options);
  }
  Diff diff_cxx(const std::string& source, Strings flags = {}, const Options& options = {}) {
    return diff_texts(source, source, ".cc", std::move(flags), options);
  }

  std::unique_ptr<TemporaryDirectory> directory_;
  int compiled_ = 0;
};

inline Strings names(const std::vector<Function>& functions) {
  Strings out;
  for (const Function& function : functions) out.push_back(function.name);
  std::sort(out.begin(), out.end());
  return out;
}

inline Strings names(const std::vector<Variable>& variables) {
  Strings out;
  for (const Variable& variable : variables)
    if (!variable.compiler_made) out.push_back(variable.name);
  std::sort(out.begin(), out.end());
  return out;
}

inline std::string refusals(const Diff& diff) {
  std::string out;
  for (const Refusal& refusal : diff.refused)
    out += refusal.function + " [" + refusal.section + "]: " + refusal.reason + "\n";
  return out;
}

inline std::string reasons(const Diff& diff) {
  std::string out;
  for (const Function& function : diff.changed_functions)
    out += function.name + ": " + function.why + "\n";
  return out;
}

// Exactly these functions changed, none is new and nothing was refused.
inline void expect_changed(const Diff& diff, const Strings& functions) {
  EXPECT_EQ(names(diff.changed_functions), functions) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{});
  EXPECT_EQ(refusals(diff), "");
}

inline void expect_nothing(const Diff& diff) {
  expect_changed(diff, {});
  EXPECT_EQ(names(diff.new_data), Strings{});
  EXPECT_EQ(names(diff.changed_data), Strings{});
}

inline void expect_refused(const Diff& diff, const std::string& name, const std::string& why) {
  bool found = std::any_of(diff.refused.begin(), diff.refused.end(), [&](const Refusal& refusal) {
    return (refusal.function == name || refusal.section == name) &&
           refusal.reason.find(why) != std::string::npos;
  });
  EXPECT_TRUE(found) << "no refusal of " << name << " with \"" << why << "\" in:\n"
                     << refusals(diff) << reasons(diff);
}

}  // namespace livecare::objdiff
