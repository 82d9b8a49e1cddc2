#include "builder/kernel/release.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builder/kernel/compile.h"
#include "builder/kernel/kernel_fix.h"
#include "builder/kernel/symvers.h"

namespace livecare::builder {
namespace {

TEST(KernelRelease, SourcePackageOfAVersion) {
  EXPECT_EQ(*kernel_source_package("6.1.170-3"), "linux-source-6.1");
  EXPECT_EQ(*kernel_source_package("7.2-1~exp1"), "linux-source-7.2");
  EXPECT_FALSE(kernel_source_package("7").ok());
}

TEST(KernelRelease, PackageOfACompiler) {
  EXPECT_EQ(compiler_package("gcc-10"), "gcc-10");
  EXPECT_EQ(compiler_package("x86_64-linux-gnu-gcc-14"), "gcc-14");
}

TEST(KernelRelease, NamesThatAreNone) {
  EXPECT_TRUE(is_release_name("6.1.0-47-cloud-amd64"));
  EXPECT_FALSE(is_release_name("6.1.0/../x"));
  EXPECT_FALSE(is_release_name(""));
  EXPECT_FALSE(is_release_name("-o"));
}

TEST(KernelRelease, ConfigurationsDifferInWhatCompiles) {
  std::string shipped = "CONFIG_A=y\nCONFIG_B=\"x y\"\n# CONFIG_C is not set\n";
  EXPECT_EQ(config_value(shipped, "CONFIG_B"), "x y");
  EXPECT_EQ(config_value(shipped, "CONFIG_C"), "");
  EXPECT_TRUE(config_differences(shipped, shipped + "CONFIG_BUILD_SALT=\"\"\n").empty());
  EXPECT_THAT(config_differences(shipped, "CONFIG_A=m\nCONFIG_B=\"x y\"\n"),
              testing::UnorderedElementsAre("-CONFIG_A=y", "+CONFIG_A=m"));
}

TEST(KernelRelease, WhatKbuildSaysOfAnObject) {
  EXPECT_EQ(module_of_command("gcc -DMODULE -D__KBUILD_MODNAME=kmod_nf-tables -c x.c\n"),
            "nf_tables");
  EXPECT_EQ(module_of_command("gcc -D__KBUILD_MODNAME=kmod_tcp_input -c x.c\n"), "");
}

TEST(KernelRelease, ExportedSymbols) {
  auto symbols = ExportedSymbols::parse(
      "0x1\tkmalloc\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tinner\tvmlinux\tEXPORT_SYMBOL_GPL\tPRIVATE\n"
      "0x3\tnft_register\tnet/netfilter/nf_tables\tEXPORT_SYMBOL_GPL\t\n",
      "x");
  ASSERT_TRUE(symbols.ok());
  EXPECT_TRUE(symbols->loader_finds("kmalloc"));
  EXPECT_FALSE(symbols->loader_finds("inner"));         // its name space has to be imported
  EXPECT_FALSE(symbols->loader_finds("nft_register"));  // the module need not be there
  EXPECT_EQ(module_name(symbols->find("nft_register")->owner), "nf_tables");
  EXPECT_FALSE(ExportedSymbols::parse("nonsense\n", "x").ok());
}

TEST(KernelFix, WhatAFileIsFor) {
  EXPECT_EQ(kernel_file_role("net/ipv4/tcp.c"), KernelFileRole::source);
  EXPECT_EQ(kernel_file_role("fs/ext4/ext4.h"), KernelFileRole::header);
  EXPECT_EQ(kernel_file_role("arch/x86/entry/entry_64.S"), KernelFileRole::assembly);
  EXPECT_EQ(kernel_file_role("arch/arm64/kernel/entry.S"), KernelFileRole::other);
  EXPECT_EQ(kernel_file_role("net/ipv4/Makefile"), KernelFileRole::build);
  EXPECT_EQ(kernel_file_role("Makefile"), KernelFileRole::other);
  EXPECT_EQ(kernel_file_role("Documentation/networking/ip.rst"), KernelFileRole::other);
  EXPECT_EQ(kernel_file_role("drivers/net/table.bin"), KernelFileRole::build);
}

}  // namespace
}  // namespace livecare::builder
