#include "builder/pairing.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

using testing::ElementsAre;

Fingerprint print(const std::string& soname, const std::string& file,
                  std::map<std::string, uint8_t> sections, bool has_symbols = true) {
  Fingerprint made;
  made.soname = soname;
  made.file_name = file;
  made.has_symbols = has_symbols;
  for (const auto& [name, content] : sections)
    made.sections.push_back({name, uint64_t{content} / 10, {content}});
  return made;
}

size_t paired(const Fingerprint& shipped, const std::vector<Fingerprint>& candidates) {
  auto pair = find_pair(shipped, candidates);
  return pair ? pair->candidate : SIZE_MAX;
}

TEST(Pairing, BySonameAndFileName) {
  Fingerprint shipped = print("libx.so.1", "libx.so.1.2", {{".text", 10}});
  EXPECT_EQ(paired(shipped, {print("liby.so.1", "libx.so.1.2", {{".text", 20}}),
                             print("libx.so.1", "other", {{".text", 30}})}),
            1u);
  Fingerprint program = print("", "tool", {{".text", 10}});
  EXPECT_EQ(paired(program, {print("libtool.so", "tool", {{".text", 20}}),
                             print("", "lt-tool", {{".text", 30}})}),
            1u);
  EXPECT_EQ(paired(program, {print("", "toolbox", {{".text", 30}})}), SIZE_MAX);
  EXPECT_EQ(paired(program, {}), SIZE_MAX);
}

TEST(Pairing, TheClosestOfTheSameName) {
  Fingerprint shipped = print("", "tool", {{".text", 10}, {".rodata", 50}}, false);
  EXPECT_EQ(paired(shipped, {print("", "tool", {{".text", 99}, {".rodata", 88}}),
                             print("", "tool", {{".text", 11}, {".rodata", 51}}),
                             print("", "tool", {{".text", 10}, {".rodata", 50}}, false),
                             print("", "tool", {{".text", 10}, {".rodata", 50}}),
                             print("", "tool", {{".text", 10}})}),
            3u);
}

TEST(Pairing, AnotherNameMustBeEqual) {
  Fingerprint shipped = print("", "installed-name", {{".text", 10}, {".rodata", 50}});
  EXPECT_EQ(paired(shipped, {print("", "a", {{".text", 10}, {".rodata", 51}}),
                             print("", "b", {{".text", 10}, {".rodata", 50}})}),
            1u);
  EXPECT_EQ(paired(shipped, {print("", "a", {{".text", 10}, {".rodata", 51}})}), SIZE_MAX);
  // Two files in which there is nothing to compare are not equal.
  EXPECT_EQ(paired(print("", "x", {}), {print("", "y", {})}), SIZE_MAX);
}

TEST(Pairing, SaysWhatDiffers) {
  Likeness same = compare(print("", "a", {{".text", 10}}), print("", "b", {{".text", 10}}));
  EXPECT_EQ(same.text(), "identical: 1 sections equal");
  Likeness other = compare(print("", "a", {{".text", 10}, {".data", 20}, {".rodata", 30}}),
                           print("", "b", {{".text", 11}, {".rodata", 30}}));
  EXPECT_EQ(other.text(), "differs in .text, .data (1 of 3 sections equal)");
  EXPECT_EQ(other.same_size, 2u);
}

TEST(Pairing, FingerprintsOfRealFiles) {
  match::TestBuild build;
  build.write("a.c", "int f(int x) { return x * 3; }");
  build.sh(
      "gcc -O2 -shared -fPIC -Wl,-soname,liba.so.1 -o liba.so a.c && strip -o shipped liba.so "
      "&& gcc -c a.c && mkdir d && ln -s ../liba.so d/link && cp shipped d/copy && "
      "echo text > d/short && printf '\\177ELF\\001\\001%014d' 0 > d/elf32");
  Fingerprint shipped = fingerprint_of(build.open("shipped"), build.path("shipped"));
  Fingerprint rebuilt = fingerprint_of(build.open("liba.so"), build.path("liba.so"));
  EXPECT_EQ(shipped.public_name(), "liba.so.1");
  EXPECT_FALSE(shipped.has_symbols);
  EXPECT_TRUE(rebuilt.has_symbols);
  EXPECT_TRUE(compare(shipped, rebuilt).different.empty());
  EXPECT_THAT(find_elf_files(build.path("d")), ElementsAre(build.path("d/copy")));
  uint16_t type = 0;
  EXPECT_TRUE(is_elf64(build.path("a.o"), &type));
  EXPECT_EQ(type, ET_REL);
  EXPECT_FALSE(is_elf64(build.path("d/short")));
  EXPECT_FALSE(is_elf64(build.path("d/elf32")));
  EXPECT_FALSE(is_elf64(build.path("nowhere")));
}

}  // namespace
}  // namespace livecare::builder
