#include "builder/apt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::builder {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(AptParagraphs, FieldsWithContinuationLines) {
  auto paragraphs = parse_paragraphs(
      "Package: curl\nVersion: 7.88.1-10+deb12u5\nBinary: curl,\n libcurl4,\n\tlibcurl4-doc\n"
      "# a comment: not a field\nVcs: https://x/y\n\n \n\nPackage: zlib\n");
  ASSERT_EQ(paragraphs.size(), 2u);
  EXPECT_THAT(paragraphs[0],
              ElementsAre(Pair("Binary", "curl,\nlibcurl4,\nlibcurl4-doc"), Pair("Package", "curl"),
                          Pair("Vcs", "https://x/y"), Pair("Version", "7.88.1-10+deb12u5")));
  EXPECT_THAT(paragraphs[1], ElementsAre(Pair("Package", "zlib")));
}

TEST(AptParagraphs, WithoutALastNewlineAndWithCarriageReturns) {
  auto paragraphs = parse_paragraphs("Package: a\r\n\r\nPackage: b");
  ASSERT_EQ(paragraphs.size(), 2u);
  EXPECT_EQ(paragraphs[0].at("Package"), "a");
  EXPECT_EQ(paragraphs[1].at("Package"), "b");
}

TEST(AptParagraphs, StrayLinesBelongToNoField) {
  auto paragraphs = parse_paragraphs(" stray\nPackage: a\n\n stray\nno field\nName: b\n");
  ASSERT_EQ(paragraphs.size(), 2u);
  EXPECT_THAT(paragraphs[0], ElementsAre(Pair("Package", "a")));
  EXPECT_THAT(paragraphs[1], ElementsAre(Pair("Name", "b")));
  EXPECT_THAT(parse_paragraphs(""), IsEmpty());
}

TEST(AptBinaryPackage, SourceIsThePackageItselfUnlessNamed) {
  BinaryPackage own = binary_package({{"Package", "curl"}, {"Version", "7.88"}});
  EXPECT_EQ(own.source.text(), "curl 7.88");
  BinaryPackage named = binary_package({{"Package", "libcurl4"},
                                        {"Version", "7.88"},
                                        {"Source", "curl"},
                                        {"Section", "libs"},
                                        {"Architecture", "amd64"}});
  EXPECT_EQ(named.source.text(), "curl 7.88");
  EXPECT_EQ(named.section, "libs");
  EXPECT_EQ(named.architecture, "amd64");
  BinaryPackage other = binary_package({{"Package", "libssl3"},
                                        {"Version", "3.0.17-1~deb12u2+b1"},
                                        {"Source", "openssl (3.0.17-1)"}});
  EXPECT_EQ(other.source.text(), "openssl 3.0.17-1");
  EXPECT_EQ(other.version, "3.0.17-1~deb12u2+b1");
}

TEST(AptBinaryPackage, DamagedSourceFieldsDoNotCrash) {
  for (const char* source : {"(", ")(", "x (", "x ( 1.0 ) ", "x )", "(1)"})
    binary_package({{"Package", "p"}, {"Version", "1"}, {"Source", source}});
  EXPECT_EQ(binary_package({{"Package", "p"}, {"Source", "x ( 1.0 )"}}).source.text(), "x 1.0");
  EXPECT_EQ(binary_package({{"Source", "x) (1.0)"}}).source.text(), "x) 1.0");
  EXPECT_EQ(binary_package({}).name, "");
}

TEST(AptSources, OneLineFormat) {
  EXPECT_EQ(with_sources("deb http://deb.debian.org/debian bookworm main\n# deb x\n", false),
            "deb http://deb.debian.org/debian bookworm main\n"
            "deb-src http://deb.debian.org/debian bookworm main\n# deb x\n");
  EXPECT_EQ(with_sources("deb\t[arch=amd64] http://x y z\n", false),
            "deb\t[arch=amd64] http://x y z\ndeb-src\t[arch=amd64] http://x y z\n");
  EXPECT_EQ(with_sources("  deb http://x y z", false),
            "  deb http://x y z\ndeb-src http://x y z\n");
  EXPECT_EQ(with_sources("deb-src http://x y z\ndebris\n", false),
            "deb-src http://x y z\ndebris\n");
}

TEST(AptSources, Deb822Format) {
  EXPECT_EQ(with_sources("Types: deb\nURIs: http://x\n\ntypes: deb\nURIs: http://y\n", true),
            "Types: deb deb-src\nURIs: http://x\n\nTypes: deb deb-src\nURIs: http://y\n");
  EXPECT_EQ(with_sources("# Types: deb\ndeb x\n", true), "# Types: deb\ndeb x\n");
}

}  // namespace
}  // namespace livecare::builder
