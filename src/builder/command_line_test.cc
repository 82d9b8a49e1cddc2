#include "builder/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::builder {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Call call_of(std::string_view text) {
  Call call;
  call.directory = "/tree";
  call.arguments = split_response(text);
  return call;
}

Invocation parse(std::string_view text) {
  Call call = call_of(text);
  return parse_invocation(call, tool_of(call));
}

std::vector<std::string> paths(const std::vector<Operand>& operands) {
  std::vector<std::string> names;
  for (const Operand& operand : operands)
    names.push_back((operand.is_library ? "-l" : "") + operand.path +
                    (operand.whole_archive ? "!" : "") + (operand.is_static ? "#" : ""));
  return names;
}

TEST(CommandLine, ToolsByName) {
  for (const char* name : {"gcc", "/usr/bin/x86_64-linux-gnu-gcc-12", "cc", "g++", "c++",
                           "clang-14", "clang++", "aarch64-linux-gnu-g++-12.2"})
    EXPECT_EQ(tool_of(call_of(name)), Tool::compiler) << name;
  for (const char* name : {"ld", "x86_64-linux-gnu-ld.bfd", "ld.gold", "ld.lld-14", "mold"})
    EXPECT_EQ(tool_of(call_of(name)), Tool::linker) << name;
  EXPECT_EQ(tool_of(call_of("/usr/bin/as")), Tool::assembler);
  for (const char* name : {"ar", "gcc-ar", "llvm-ar-14", "x86_64-linux-gnu-gcc-ar-12"})
    EXPECT_EQ(tool_of(call_of(name)), Tool::archiver) << name;
  EXPECT_EQ(tool_of(call_of("mv")), Tool::move);
  for (const char* name : {"cp", "ln", "install", "x86_64-linux-gnu-objcopy"})
    EXPECT_EQ(tool_of(call_of(name)), Tool::copy) << name;
  for (const char* name : {"ccache", "ranlib", "gas2", "tar", "build", "rmv", "gcc-ranlib"})
    EXPECT_EQ(tool_of(call_of(name)), Tool::other) << name;
}

TEST(CommandLine, LanguagesByEnding) {
  EXPECT_EQ(language_of("a/b.c"), Language::c);
  EXPECT_EQ(language_of("b.i"), Language::c);
  for (const char* name : {"b.cc", "b.cpp", "b.cxx", "b.C", "b.c++", "b.ii"})
    EXPECT_EQ(language_of(name), Language::cxx) << name;
  EXPECT_EQ(language_of("b.S"), Language::assembler);
  for (const char* name : {"b.o", "b.h", "b", "c"})
    EXPECT_EQ(language_of(name), Language::other) << name;
}

TEST(CommandLine, Compiles) {
  Invocation call = parse(
      "gcc -O2 -Iinclude -I more -DX='a b' -include pre.h -MD -MF .d/a.d -c "
      "src/a.c -o out/a.o");
  EXPECT_TRUE(call.compiles);
  EXPECT_TRUE(call.stops_at_object);
  EXPECT_FALSE(call.links);
  EXPECT_EQ(call.output, "out/a.o");
  EXPECT_THAT(paths(call.sources), ElementsAre("src/a.c"));
  EXPECT_THAT(call.inputs, IsEmpty());
  EXPECT_EQ(parse("gcc -c a.c -oout.o").output, "out.o");
  EXPECT_EQ(parse("gcc -objcsomething -c a.c").output, "");
}

TEST(CommandLine, LanguageGivenByOption) {
  Invocation call = parse("gcc -c -x c++ a.c -xc b.txt -x none d.c -x assembler-with-cpp e.x -");
  EXPECT_THAT(paths(call.sources), ElementsAre("a.c", "b.txt", "d.c", "e.x", "-"));
  EXPECT_THAT(call.languages, ElementsAre(Language::cxx, Language::c, Language::c,
                                          Language::assembler, Language::assembler));
}

TEST(CommandLine, QuestionsAreNoCompiles) {
  for (const char* text :
       {"gcc -E a.c", "gcc -M a.c", "gcc -S a.c", "gcc -fsyntax-only a.c", "gcc -### -c a.c",
        "gcc --version", "gcc -print-search-dirs a.c", "ld --version a.o", "as --version a.s"}) {
    EXPECT_FALSE(parse(text).compiles) << text;
    EXPECT_FALSE(parse(text).links) << text;
  }
  EXPECT_FALSE(parse("gcc -O2").links);
}

TEST(CommandLine, DriverLinks) {
  Invocation call = parse(
      "gcc -shared -o libx.so -Wl,-soname,libx.so.1 a.c b.o -Lsub -L more -la "
      "-l b -Wl,--whole-archive c.a -Wl,--no-whole-archive d.a "
      "-Wl,--push-state,-Bstatic -le -Wl,--pop-state -lf -z now -T x.ld");
  EXPECT_TRUE(call.compiles);
  EXPECT_TRUE(call.links);
  EXPECT_TRUE(call.shared);
  EXPECT_THAT(paths(call.sources), ElementsAre("a.c"));
  EXPECT_THAT(paths(call.inputs), ElementsAre("b.o", "-la", "-lb", "c.a!", "d.a", "-le#", "-lf"));
  EXPECT_THAT(call.library_directories, ElementsAre("sub", "more"));
  EXPECT_TRUE(parse("gcc -r -nostdlib a.o b.o -o ab.o").relocatable);
  EXPECT_FALSE(parse("gcc -rdynamic a.o -o a").relocatable);
  EXPECT_THAT(paths(parse("g++ -static-pie a.o -lz").inputs), ElementsAre("a.o#", "-lz#"));
  EXPECT_THAT(paths(parse("gcc a.o -Wl,x.a -Xlinker --whole-archive y.a").inputs),
              ElementsAre("a.o", "x.a", "y.a!"));
}

TEST(CommandLine, LinkerLinks) {
  Invocation call = parse(
      "ld -m elf_x86_64 -plugin p.so -shared -soname l.so --version-script v.map "
      "-o l.so /usr/lib/crti.o a.o --whole-archive b.a --no-whole-archive "
      "--push-state --as-needed -lc --pop-state -Lx --output=y");
  EXPECT_TRUE(call.links);
  EXPECT_TRUE(call.shared);
  EXPECT_EQ(call.output, "l.so");
  EXPECT_THAT(paths(call.inputs), ElementsAre("/usr/lib/crti.o", "a.o", "b.a!", "-lc"));
  EXPECT_TRUE(parse("ld -r -o j.o a.o b.o").relocatable);
}

TEST(CommandLine, AssemblerCalls) {
  Invocation call = parse("as --64 -I inc --defsym A=1 --MD a.d -o a.o a.s");
  EXPECT_TRUE(call.compiles);
  EXPECT_EQ(call.output, "a.o");
  EXPECT_THAT(paths(call.sources), ElementsAre("a.s"));
  EXPECT_THAT(call.languages, ElementsAre(Language::assembler));
}

TEST(CommandLine, CompiledAgainWithoutSideEffects) {
  Call call = call_of(
      "gcc -O2 -flto=auto -Werror -Werror=format -I inc -include pre.h -MD -MF a.d "
      "-MTx -Wp,-MD,a.d -Wp,-D_FORTIFY_SOURCE=2 -save-temps -Wa,-ahl=a.lst "
      "-Wa,--noexecstack -gsplit-dwarf -shared -Wl,-z,now -Lx -lz -o old a.c b.c "
      "c.o -x c");
  EXPECT_THAT(recompile_arguments(call, "a.c", "new.o", {"-g"}),
              ElementsAre("gcc", "-O2", "-I", "inc", "-include", "pre.h", "-Wp,-D_FORTIFY_SOURCE=2",
                          "-Wa,--noexecstack", "a.c", "-x", "c", "-c", "-o", "new.o", "-g"));
  EXPECT_THAT(dependency_arguments(call_of("gcc -c -o a.o a.c"), "a.c", "rule"),
              ElementsAre("gcc", "a.c", "-M", "-MT", "x", "-MF", "rule", "-w"));
}

TEST(CommandLine, ArchiveCalls) {
  ArchiveCall call = parse_archive_call(call_of("ar rcs lib.a a.o b.o"));
  EXPECT_EQ(call.operation, 'r');
  EXPECT_EQ(call.archive, "lib.a");
  EXPECT_THAT(call.members, ElementsAre("a.o", "b.o"));
  EXPECT_EQ(parse_archive_call(call_of("ar -qc lib.a a.o")).operation, 'q');
  call = parse_archive_call(call_of("gcc-ar --plugin p.so rb before.o lib.a a.o"));
  EXPECT_EQ(call.archive, "lib.a");
  EXPECT_THAT(call.members, ElementsAre("a.o"));
  call = parse_archive_call(call_of("ar xN 2 lib.a a.o"));
  EXPECT_EQ(call.operation, 'x');
  EXPECT_EQ(call.archive, "lib.a");
  EXPECT_EQ(parse_archive_call(call_of("ar t lib.a")).operation, 0);
  EXPECT_EQ(parse_archive_call(call_of("ar")).operation, 0);
  EXPECT_EQ(parse_archive_call(call_of("ar -M")).archive, "");
}

TEST(CommandLine, MovesAndCopies) {
  MoveCall call = parse_move_call(call_of("mv -f a.tmp a.o"));
  EXPECT_THAT(call.sources, ElementsAre("a.tmp"));
  EXPECT_EQ(call.destination, "a.o");
  EXPECT_FALSE(call.into);
  call = parse_move_call(call_of("install -m 644 -o root -g root a.so b.so lib"));
  EXPECT_THAT(call.sources, ElementsAre("a.so", "b.so"));
  EXPECT_EQ(call.destination, "lib");
  EXPECT_TRUE(call.into);
  EXPECT_TRUE(parse_move_call(call_of("cp a.so lib/")).into);
  for (const char* text : {"cp -t lib a.so", "cp --target-directory=lib a.so"}) {
    call = parse_move_call(call_of(text));
    EXPECT_TRUE(call.into);
    EXPECT_EQ(call.destination, "lib");
    EXPECT_THAT(call.sources, ElementsAre("a.so"));
  }
  // The same letters mean other things to other tools.
  for (const char* text : {"objcopy -S in out", "objcopy -g -R .comment in out",
                           "objcopy -O elf64-x86-64 --add-section .x=y in out", "cp -g in out"}) {
    call = parse_move_call(call_of(text));
    EXPECT_THAT(call.sources, ElementsAre("in")) << text;
    EXPECT_EQ(call.destination, "out") << text;
  }
  EXPECT_THAT(parse_move_call(call_of("objcopy -g in")).sources, IsEmpty());
}

}  // namespace
}  // namespace livecare::builder
