// For tests of match and builder: compiles what a test writes.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/process.h"
#include "elf/image.h"

namespace livecare::match {

class TestBuild {
 public:
  TestBuild() {
    auto made = TemporaryDirectory::make("match-test");
    EXPECT_TRUE(made.ok());
    directory_.emplace(std::move(made).value());
  }

  std::string path(const std::string& name) const { return (directory_->path() / name).string(); }

  void write(const std::string& name, const std::string& text) const {
    EXPECT_TRUE(write_file_atomic(path(name), ByteView(std::string_view(text))).ok());
  }

  // A shell command with the test's directory as the current one.
  void sh(const std::string& command) const {
    auto result = run({.arguments = {"sh", "-ec", command}, .directory = directory_->path()});
    ASSERT_TRUE(result.ok()) << result.error().text();
    ASSERT_EQ(result->exit_code, 0) << command << "\n" << result->output << result->errors;
  }

  elf::Image open(const std::string& name) const {
    auto image = elf::Image::open(path(name));
    EXPECT_TRUE(image.ok()) << image.error().text();
    return std::move(image).value();
  }

 private:
  std::optional<TemporaryDirectory> directory_;
};

inline uint32_t symbol_index(const elf::Image& image, std::string_view name) {
  for (const auto& symbol : image.symbols())
    if (symbol.name == name) return symbol.index;
  return 0;
}

}  // namespace livecare::match
