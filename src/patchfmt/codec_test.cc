#include "patchfmt/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "patchfmt/body.h"
#include "patchfmt/check.h"
#include "patchfmt/samples.h"

namespace livecare::patchfmt {

namespace {

using ::testing::HasSubstr;

Error error_of(const Bytes& file) {
  auto result = read(file, "f.lcpatch");
  return result.ok() ? Error{ErrorCode::internal, "", "was accepted"} : result.error();
}

std::string refusal(const std::function<void(Object&)>& spoil) {
  Patchset patchset = sample_patchset();
  spoil(patchset.objects[0]);
  return error_of(write(patchset)).text();
}

std::string some_text() {
  return *rc::gen::string<std::string>();
}

// No NUL: the format refuses it.
std::string some_name() {
  std::string text = some_text();
  std::erase(text, '\0');
  return text.empty() ? "x" : text;
}

Bytes some_bytes(size_t size_max) {
  auto bytes = *rc::gen::container<Bytes>(rc::gen::arbitrary<uint8_t>());
  if (bytes.size() > size_max) bytes.resize(size_max);
  return bytes;
}

Object some_object(int number) {
  Object object = sample_object(fmt::format("{:040x}", number));
  object.soname = some_name();
  object.text.bytes = some_bytes(64);
  object.data.bytes = some_bytes(8192);
  object.functions.clear();
  int functions = *rc::gen::inRange(0, 20);
  for (int i = 0; i < functions; ++i) {
    uint64_t size = *rc::gen::inRange<uint64_t>(1, 200);
    uint64_t address = 0x1000 + 0x1000 * static_cast<uint64_t>(i);
    object.functions.push_back({some_name(),
                                address,
                                size,
                                {{address, size}},
                                Bytes(std::min<uint64_t>(size, 64), 0x55),
                                0,
                                64,
                                some_name()});
  }
  for (Symbol& symbol : object.symbols) symbol.name = some_name();
  for (Relocation& relocation : object.relocations)
    relocation.addend = *rc::gen::arbitrary<int64_t>();
  return object;
}

}  // namespace

RC_GTEST_PROP(Codec, WhatIsWrittenIsRead, ()) {
  Patchset patchset = sample_patchset();
  patchset.description = some_name();
  patchset.fixes[0].cves = {some_name(), some_name()};
  patchset.objects.clear();
  int objects = *rc::gen::inRange(1, 4);
  for (int i = 0; i < objects; ++i) patchset.objects.push_back(some_object(i));
  Bytes file = write(patchset);
  auto back = read(file, "f");
  RC_ASSERT(back.ok());
  RC_ASSERT(back->signatures.empty());
  RC_ASSERT(write_body(back->patchset) == write_body(patchset));
  RC_ASSERT(write(back->patchset) == file);
}

TEST(Codec, KeepsEveryField) {
  Patchset want = sample_patchset();
  auto file = read(write(want), "f");
  ASSERT_TRUE(file.ok()) << file.error().text();
  const Patchset& got = file->patchset;
  EXPECT_EQ(got.name, want.name);
  EXPECT_EQ(got.level, 2u);
  EXPECT_EQ(got.fixes[0].cves, want.fixes[0].cves);
  const Object& object = got.objects[0];
  EXPECT_EQ(object.build_id, want.objects[0].build_id);
  EXPECT_EQ(object.rodata.bytes, want.objects[0].rodata.bytes);
  EXPECT_EQ(object.functions[0].ranges[1].address, 0x900u);
  EXPECT_EQ(object.symbols[0].version, "GLIBC_2.2.5");
  EXPECT_EQ(object.relocations[0].addend, -4);
  EXPECT_EQ(object.hooks[0].when, HookWhen::before_switch);
  EXPECT_EQ(object.kept_data[0].size, 8u);
  EXPECT_EQ(object.new_tls_align, 16u);
}

TEST(Codec, EveryTruncationIsAnError) {
  Bytes file = write(sample_patchset());
  for (size_t size = 0; size < file.size(); ++size) {
    Bytes part(file.begin(), file.begin() + static_cast<ptrdiff_t>(size));
    ASSERT_FALSE(read(part, "f").ok()) << size;
    ASSERT_FALSE(signed_bytes(part, "f").ok()) << size;
  }
}

TEST(Codec, EveryFlippedBitIsAnError) {
  Bytes file = write(sample_patchset());
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    Bytes spoilt = file;
    spoilt[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    ASSERT_FALSE(read(spoilt, "f").ok()) << bit;
  }
}

TEST(Codec, BodyErrorsAreFoundWithoutTheDigest) {
  Bytes body = write_body(sample_patchset());
  for (size_t size = 0; size < body.size(); ++size)
    ASSERT_FALSE(read_body(*ByteView(body).slice(0, size), "f").ok()) << size;
  body.push_back(0);
  auto result = read_body(body, "f");
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("1 bytes after the last record"));
}

TEST(Codec, NamesWhatIsWrongWithTheFile) {
  EXPECT_THAT(error_of({}).text(), HasSubstr("f.lcpatch: is not a livecare patch file"));
  Bytes file = write(sample_patchset());
  store_le(file, 8, uint32_t{2});
  EXPECT_EQ(error_of(file).code, ErrorCode::unsupported);
  EXPECT_THAT(error_of(file).text(), HasSubstr("format version 2"));
  file = write(sample_patchset());
  store_le(file, 24, uint64_t{1} << 40);
  EXPECT_THAT(error_of(file).text(), HasSubstr("over the limit"));
  file = write(sample_patchset());
  file.push_back(0);
  EXPECT_THAT(error_of(file).text(), HasSubstr("bytes after its signature block"));
}

TEST(Codec, SignaturesAreAddedWithoutTouchingWhatTheyCover) {
  Bytes file = write(sample_patchset());
  Bytes covered = signed_bytes(file, "f")->copy();
  Signature one, two;
  one.key_id.fill(1);
  one.signature.fill(2);
  two.key_id.fill(3);
  Bytes first = *add_signature(file, "f", one);
  Bytes both = *add_signature(first, "f", two);
  EXPECT_EQ(signed_bytes(both, "f")->copy(), covered);
  auto back = read(both, "f");
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->signatures.size(), 2u);
  EXPECT_EQ(back->signatures[0].signature, one.signature);
  EXPECT_EQ(back->signatures[1].key_id, two.key_id);
  for (int i = 2; i < 16; ++i) both = *add_signature(both, "f", two);
  EXPECT_FALSE(add_signature(both, "f", two).ok());
}

TEST(Check, RefusesPartsThatDoNotFit) {
  EXPECT_THAT(refusal([](Object& o) { o.image_size += 1; }), HasSubstr("image size"));
  EXPECT_THAT(refusal([](Object& o) { o.image_size = image_bytes_max + page_bytes; }),
              HasSubstr("image size"));
  EXPECT_THAT(refusal([](Object& o) { o.text.offset = 8; }), HasSubstr("not inside the image"));
  EXPECT_THAT(refusal([](Object& o) { o.data.size = ~uint64_t{0}; }),
              HasSubstr("not inside the image"));
  EXPECT_THAT(refusal([](Object& o) { o.text.size = page_bytes + 1; }), HasSubstr("parts overlap"));
  EXPECT_THAT(refusal([](Object& o) { o.text.bytes.resize(65); }), HasSubstr("more bytes"));
}

TEST(Check, RefusesReferencesOutOfTheImage) {
  EXPECT_THAT(refusal([](Object& o) { o.functions[0].new_offset = page_bytes; }),
              HasSubstr("parse: new code is not inside the text part"));
  EXPECT_THAT(refusal([](Object& o) { o.functions[0].new_size = 65; }), HasSubstr("new code"));
  EXPECT_THAT(refusal([](Object& o) {
                o.functions[0].ranges = {{0x1000, 31}};
              }),
              HasSubstr("no code range covers its entry"));
  EXPECT_THAT(refusal([](Object& o) { o.functions[0].entry_bytes.pop_back(); }),
              HasSubstr("entry bytes"));
  EXPECT_THAT(refusal([](Object& o) {
                o.functions.push_back(o.functions[0]);
                o.functions[1].name = "again";
              }),
              HasSubstr("parse and again overlap"));
  EXPECT_THAT(refusal([](Object& o) { o.relocations[0].symbol = 4; }), HasSubstr("symbol 4 of 4"));
  EXPECT_THAT(refusal([](Object& o) { o.relocations[0].offset = 61; }),
              HasSubstr("not inside a part"));
  EXPECT_THAT(refusal([](Object& o) { o.relocations[2].offset -= 4; }), HasSubstr("overlap"));
  // Behind the image lie the initial contents of the new thread-local block (64 bytes).
  Patchset good = sample_patchset();
  good.objects[0].relocations[1].offset = good.objects[0].image_size + 56;
  EXPECT_TRUE(read(write(good), "good").ok());
  EXPECT_THAT(refusal([](Object& o) { o.relocations[1].offset = o.image_size + 57; }),
              HasSubstr("not inside a part"));
  EXPECT_THAT(refusal([](Object& o) { o.relocations[2].offset = o.image_size; }),
              HasSubstr("not inside a part"));
  EXPECT_THAT(refusal([](Object& o) { o.hooks[0].offset = 64; }), HasSubstr("hook prepare"));
  EXPECT_THAT(refusal([](Object& o) { o.kept_data[0].size = 8192; }), HasSubstr("kept variable"));
  EXPECT_THAT(refusal([](Object& o) { o.symbols[2].value = 60; }), HasSubstr("counter"));
}

TEST(Check, RefusesUnwindTablesThatDoNotEnd) {
  EXPECT_THAT(refusal([](Object& o) { o.rodata.bytes[16] = 200; }), HasSubstr("runs out"));
  EXPECT_THAT(refusal([](Object& o) {
                o.rodata.bytes.resize(128, 0);
                o.rodata.bytes[16] = 106;
              }),
              HasSubstr("no end mark"));
  EXPECT_THAT(refusal([](Object& o) { o.eh_frame_offset = 0; }), HasSubstr("unwind table"));
}

TEST(Check, RefusesNamesThatAreNotFileNames) {
  for (std::string name : {"", ".", "../x", "a/b", "-rf", "a b"}) {
    Patchset patchset = sample_patchset();
    patchset.name = name;
    EXPECT_THAT(error_of(write(patchset)).text(), HasSubstr("unsafe as a file name")) << name;
  }
  EXPECT_THAT(refusal([](Object& o) { o.build_id = "../../etc"; }), HasSubstr("build-ID"));
}

TEST(KpatchInfo, HasTheHeaderAndTheBlocksOfTheField) {
  Patchset patchset = sample_patchset();
  patchset.fixes[0].description = "two\nkpatch-name: lines";
  EXPECT_EQ(kpatch_info(patchset),
            "OS: debian12\n"
            "kernel: sample 1.0-1\n"
            "time: 2026-11-22 04:30:00\n"
            "uname: U20261122_01\n"
            "\n"
            "kpatch-name: bounds.patch\n"
            "kpatch-description: two kpatch-name: lines\n"
            "kpatch-kernel: sample 1.0-1\n"
            "kpatch-cve: CVE-2026-0001, CVE-2026-0002\n"
            "kpatch-cvss: 7.5\n"
            "kpatch-cve-url: https://example.org/cve\n"
            "kpatch-patch-url: N/A\n");
}

TEST(KernelPatchset, ComesBackAsItWas) {
  Patchset patchset = sample_kernel_patchset();
  patchset.modules.push_back(sample_module(std::string(40, 'b')));
  patchset.modules[1].type = "extra";
  auto file = read(write(patchset), "f.lcpatch");
  ASSERT_TRUE(file.ok()) << file.error().text();
  ASSERT_EQ(file->patchset.modules.size(), 2u);
  const KernelModule& module = file->patchset.modules[1];
  EXPECT_EQ(module.kernel_id, std::string(40, 'b'));
  EXPECT_EQ(module.release, "6.1.0-47-cloud-amd64");
  EXPECT_EQ(module.effective, "6.1.0-48-cloud-amd64");
  EXPECT_EQ(module.type, "extra");
  EXPECT_EQ(module.module, "kpatch_sample");
  EXPECT_EQ(module.file, patchset.modules[1].file);
}

TEST(KernelPatchset, WhatIsWrongIsRefused) {
  auto refusal_of = [](const std::function<void(Patchset&)>& spoil) {
    Patchset patchset = sample_kernel_patchset();
    spoil(patchset);
    return error_of(write(patchset)).text();
  };
  EXPECT_THAT(refusal_of([](Patchset& p) { p.modules.clear(); }), HasSubstr("has no module"));
  EXPECT_THAT(refusal_of([](Patchset& p) { p.objects = {sample_object()}; }),
              HasSubstr("objects of user space"));
  EXPECT_THAT(refusal_of([](Patchset& p) { p.modules[0].kernel_id = "abc"; }),
              HasSubstr("kernel ID"));
  EXPECT_THAT(refusal_of([](Patchset& p) { p.modules[0].type = "best"; }), HasSubstr("'best'"));
  EXPECT_THAT(refusal_of([](Patchset& p) { p.modules[0].module = "a-b"; }),
              HasSubstr("module name"));
  EXPECT_THAT(refusal_of([](Patchset& p) {
                p.modules[0].file = {1, 2, 3, 4};
              }),
              HasSubstr("not an ELF file"));
  EXPECT_THAT(refusal_of([](Patchset& p) { p.modules.push_back(p.modules[0]); }),
              HasSubstr("occurs twice"));
  EXPECT_THAT(refusal_of([](Patchset& p) { p.product = "user"; }), HasSubstr("has no object"));
}

}  // namespace livecare::patchfmt
