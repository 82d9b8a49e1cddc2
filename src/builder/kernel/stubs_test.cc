#include "builder/kernel/stubs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_system.h"
#include "base/process.h"

namespace livecare::builder {
namespace {

TEST(KernelStubs, Versions) {
  EXPECT_EQ(pahole_version("124"), "1.24");
  EXPECT_EQ(pahole_version("0"), "");
  EXPECT_EQ(llvm_version("220108"), "22.1.8");
  EXPECT_EQ(llvm_version("90011"), "9.0.11");
  EXPECT_EQ(llvm_version("x20108"), "");
  EXPECT_EQ(llvm_version("0"), "");
}

TEST(KernelStubs, AnswerAsTheRealOnesDid) {
  auto entry = TemporaryDirectory::make();
  ASSERT_TRUE(entry.ok());
  const std::string config =
      "CONFIG_PAHOLE_VERSION=130\nCONFIG_RUST=y\nCONFIG_RUSTC_LLVM_VERSION=220108\n"
      "CONFIG_BINDGEN_VERSION_TEXT=\"bindgen 0.72.1\"\n"
      "CONFIG_RUSTC_VERSION_TEXT=\"rustc 1.97.1 (8bab26f4f)\"\n";
  std::filesystem::path plain = entry->path() / "tree";
  ASSERT_TRUE(write_file_atomic(plain / "tools/objtool/objtool",
                                ByteView(std::string_view("#!/bin/sh\nprintf '%s,' \"$@\"\n")),
                                0755)
                  .ok());
  ASSERT_TRUE(write_stubs(entry->path(), plain, config).ok());
  auto says = [&](const std::string& stub, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), (entry->path() / stub).native());
    auto out = run_checked({.arguments = arguments});
    return out.ok() ? *out : out.error().text();
  };
  EXPECT_EQ(says("pahole", {"--version"}), "v1.30\n");
  EXPECT_EQ(says("rustc", {"--version", "--verbose"}),
            "rustc 1.97.1 (8bab26f4f)\nLLVM version: 22.1.8\n");
  EXPECT_EQ(says("rustc", {"--version"}), "rustc 1.97.1 (8bab26f4f)\n");
  EXPECT_EQ(says("bindgen", {"--version", "workaround-for-0.69.0"}), "bindgen 0.72.1\n");
  std::string sysroot = says("rustc", {"--print", "sysroot"});
  sysroot.pop_back();
  EXPECT_TRUE(std::filesystem::exists(sysroot + "/lib/rustlib/src/rust/library/core/src/lib.rs"));
  EXPECT_EQ(says("objtool", {"--hacks=noinstr", "--ibt", "--orc", "a b.o"}),
            "--hacks=noinstr,--orc,a b.o,");
  EXPECT_THAT(stub_variables(entry->path()), testing::Contains("CONFIG_RUST="));
}

TEST(KernelStubs, NoRustWhereTheKernelHasNone) {
  auto entry = TemporaryDirectory::make();
  ASSERT_TRUE(entry.ok());
  ASSERT_TRUE(write_stubs(entry->path(), "/tree", "CONFIG_A=y\n").ok());
  EXPECT_THAT(stub_variables(entry->path()),
              testing::Not(testing::Contains(testing::StartsWith("RUSTC="))));
}

}  // namespace
}  // namespace livecare::builder
