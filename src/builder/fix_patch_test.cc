#include "builder/fix_patch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::builder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

FixPatch parse(std::string_view text, std::string name = "fix.patch") {
  auto fix = parse_fix(text, std::move(name));
  EXPECT_TRUE(fix.ok()) << fix.error().text();
  return fix.ok() ? std::move(fix).value() : FixPatch{};
}

std::string parse_error(std::string_view text) {
  auto fix = parse_fix(text, "fix.patch");
  return fix.ok() ? "none" : fix.error().text();
}

FilePatch one(std::string_view hunks) {
  FixPatch fix = parse("--- a/f.c\n+++ b/f.c\n" + std::string(hunks));
  EXPECT_EQ(fix.files.size(), 1u);
  return fix.files.empty() ? FilePatch{} : fix.files[0];
}

std::string applied(std::string_view hunks, std::string_view content, unsigned fuzz = 0) {
  auto result = apply_hunks(one(hunks), content, "f.c", fuzz);
  return result.ok() ? *result : "error: " + result.error().text();
}

constexpr const char* b_to_x = "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n";

TEST(FixPatchParse, PlainDiffWithTimesAndText) {
  FixPatch fix = parse(
      "Index: lib/url.c\n===================\n"
      "--- lib/url.c.orig\t2024-01-01 00:00:00.000000000 +0000\n"
      "+++ lib/url.c\t2024-01-02 00:00:00.000000000 +0000\n"
      "@@ -10,2 +10,3 @@ static int f(void)\n a\n+b\n c\n"
      "Index: other\n"
      "--- a/x.c\n+++ b/x.c\n@@ -5 +5 @@\n-old\n+new\n"
      "-- \n2.39.2\n");
  ASSERT_EQ(fix.files.size(), 2u);
  EXPECT_EQ(fix.files[0].old_path, "lib/url.c.orig");
  EXPECT_EQ(fix.files[0].new_path, "lib/url.c");
  ASSERT_EQ(fix.files[0].hunks.size(), 1u);
  EXPECT_EQ(fix.files[0].hunks[0].old_line, 10u);
  EXPECT_EQ(fix.files[0].hunks[0].header, "@@ -10,2 +10,3 @@ static int f(void)");
  EXPECT_EQ(fix.files[0].hunks[0].lines.size(), 3u);
  EXPECT_EQ(fix.files[1].hunks[0].lines.size(), 2u);
}

TEST(FixPatchParse, LinesThatLookLikeHeaders) {
  // "-- x" removed and "++ y" added.
  FixPatch fix = parse("--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n--- x\n+++ y\n z\n");
  ASSERT_EQ(fix.files.size(), 1u);
  EXPECT_EQ(fix.files[0].hunks[0].lines[0].text, "-- x");
  EXPECT_EQ(fix.files[0].hunks[0].lines[1].text, "++ y");
}

TEST(FixPatchParse, GitNewDeletedRenamedModeAndBinary) {
  FixPatch fix = parse(
      "diff --git a/new.c b/new.c\nnew file mode 100644\nindex 000..111\n--- /dev/null\n"
      "+++ b/new.c\n@@ -0,0 +1 @@\n+x\n"
      "diff --git a/empty.h b/empty.h\nnew file mode 100644\nindex 0000000..e69de29\n"
      "diff --git a/gone.c b/gone.c\ndeleted file mode 100644\n--- a/gone.c\n+++ /dev/null\n"
      "@@ -1 +0,0 @@\n-x\n"
      "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
      "diff --git a/one.c b/two.c\nsimilarity index 100%\nrename from one.c\nrename to two.c\n"
      "diff --git a/p.png b/p.png\nindex 1..2 100644\nGIT binary patch\nliteral 5\nMcmZ\n\n"
      "literal 3\nabc\n\n"
      "diff --git a/last.c b/last.c\n--- a/last.c\n+++ b/last.c\n@@ -1 +1 @@\n-1\n+2\n");
  ASSERT_EQ(fix.files.size(), 6u);
  EXPECT_TRUE(fix.files[0].is_new());
  EXPECT_EQ(fix.files[0].new_path, "b/new.c");
  EXPECT_TRUE(fix.files[1].is_new());
  EXPECT_EQ(fix.files[1].new_path, "b/empty.h");
  EXPECT_TRUE(fix.files[2].is_deleted());
  EXPECT_TRUE(fix.files[3].is_rename);
  EXPECT_EQ(fix.files[3].old_path, "a/one.c");
  EXPECT_EQ(fix.files[3].new_path, "b/two.c");
  EXPECT_TRUE(fix.files[4].is_binary);
  EXPECT_EQ(fix.files[5].new_path, "b/last.c");
}

TEST(FixPatchParse, NothingAfterABinaryFileIsLost) {
  FixPatch fix = parse(
      "diff --git a/p.png b/p.png\nindex 1..2\nBinary files a/p.png and b/p.png differ\n"
      "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-1\n+2\n"
      "Binary files a/q.png and /dev/null differ\n"
      "diff -urN a/y.c b/y.c\n--- a/y.c\n+++ b/y.c\n@@ -1 +1 @@\n-1\n+2\n");
  ASSERT_EQ(fix.files.size(), 4u);
  EXPECT_EQ(fix.files[1].new_path, "b/x.c");
  EXPECT_TRUE(fix.files[2].is_binary);
  EXPECT_EQ(fix.files[2].old_path, "a/q.png");
  EXPECT_TRUE(fix.files[2].is_deleted());
  EXPECT_EQ(fix.files[3].new_path, "b/y.c");
}

TEST(FixPatchParse, QuotedNames) {
  FixPatch fix = parse(
      "diff --git \"a/\\303\\244 \\\"x\\\".c\" \"b/\\303\\244 \\\"x\\\".c\"\n"
      "--- \"a/\\303\\244 \\\"x\\\".c\"\n+++ \"b/\\303\\244 \\\"x\\\".c\"\n@@ -1 +1 @@\n-1\n+2\n"
      "diff --git \"a/t\\tb.h\" \"b/t\\tb.h\"\nnew file mode 100644\n"
      "diff --git a/with b/blank.h b/with b/blank.h\nnew file mode 100644\n");
  ASSERT_EQ(fix.files.size(), 3u);
  EXPECT_EQ(fix.files[0].old_path, "a/\xc3\xa4 \"x\".c");
  EXPECT_EQ(fix.files[0].new_path, "b/\xc3\xa4 \"x\".c");
  EXPECT_EQ(fix.files[1].new_path, "b/t\tb.h");
  EXPECT_EQ(fix.files[2].new_path, "b/with b/blank.h");
}

TEST(FixPatchParse, DescriptionAndCves) {
  FixPatch mail = parse(
      "From 1234 Mon Sep 17 00:00:00 2001\nSubject: [PATCH 1/2] url: fix CVE-2024-1111\n\n"
      "See also cve-2024-22222 and CVE-2024-1111, not CVE-20-1 or CVE-2024-12.\n---\n"
      "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-1\n+CVE-2020-9999\n");
  EXPECT_EQ(mail.description, "url: fix CVE-2024-1111");
  EXPECT_THAT(mail.cves, ElementsAre("CVE-2024-1111", "CVE-2024-22222"));
  FixPatch quilt = parse(
      "Description: Bound the copy\n of the name\nOrigin: upstream\nBug: CVE-2024-1\n\n"
      "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-1\n+2\n",
      "cve-2023-38545.patch");
  EXPECT_EQ(quilt.description, "Bound the copy");
  EXPECT_THAT(quilt.cves, ElementsAre("CVE-2023-38545"));
  EXPECT_THAT(find_cves("CVE-2024-"), IsEmpty());
}

TEST(FixPatchParse, DamageIsNamedWithItsLine) {
  EXPECT_THAT(parse_error(""), HasSubstr("holds no unified diff; make one with"));
  EXPECT_THAT(parse_error("*** a/x.c\n--- b/x.c\n***************\n*** 1,2 ****\n"),
              HasSubstr("no unified diff"));
  std::string head = "--- a/x\n+++ b/x\n";
  EXPECT_THAT(parse_error(head), HasSubstr("without hunks"));
  EXPECT_THAT(parse_error(head + "@@ -1,2 +1\n"), HasSubstr("line 4: the fix ends in the middle"));
  EXPECT_THAT(parse_error(head + "@@ -a +1 @@\n"), HasSubstr("line 3: damaged hunk header"));
  EXPECT_THAT(parse_error(head + "@@ -1 1 @@\n"), HasSubstr("damaged hunk header"));
  EXPECT_THAT(parse_error(head + "@@ -9223372036854775808 +1 @@\n-a\n+b\n"),
              HasSubstr("no file has so many lines"));
  EXPECT_THAT(parse_error(head + "@@ -1,3 +1,3 @@\n a\n?b\n"), HasSubstr("line 5: damaged hunk"));
  EXPECT_THAT(parse_error(head + "@@ -1,2 +1,1 @@\n-a\n+b\n+c\n"),
              HasSubstr("more lines than its header says"));
  EXPECT_THAT(parse_error(head + "@@ -1,1 +1,2 @@\n-a\n-b\n+c\n+d\n"),
              HasSubstr("more lines than its header says"));
  EXPECT_THAT(parse_error(head + "@@@ -1 -1 +1 @@@\n"), HasSubstr("against a single parent"));
  EXPECT_THAT(parse_error("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n"),
              HasSubstr("both names"));
  EXPECT_THAT(parse_error("GIT binary patch\nliteral 3\n"), HasSubstr("leave it out of the fix"));
}

TEST(FixPatchPath, StripsAndStaysInside) {
  EXPECT_EQ(strip_path("a/lib/url.c", 1), "lib/url.c");
  EXPECT_EQ(strip_path("lib/url.c", 0), "lib/url.c");
  EXPECT_EQ(strip_path("./lib/url.c", 0), "lib/url.c");
  EXPECT_EQ(strip_path("url.c", 1), "");
  EXPECT_EQ(strip_path("a/../../etc/passwd", 1), "");
  EXPECT_EQ(strip_path("a/lib/..", 1), "");
  EXPECT_EQ(strip_path("/etc/passwd", 0), "");
}

TEST(FixPatchPath, DetectsHowManyDirectoriesToDrop) {
  auto detect = [](std::string_view old_path, const std::string& there) {
    FixPatch fix = parse("--- " + std::string(old_path) + "\n+++ x\n@@ -1 +1 @@\n-1\n+2\n");
    return detect_strip(fix, [&](const std::string& path) { return path == there; });
  };
  EXPECT_EQ(detect("a/lib/url.c", "lib/url.c"), 1u);
  EXPECT_EQ(detect("lib/url.c", "lib/url.c"), 0u);
  EXPECT_EQ(detect("a/curl/lib/url.c", "lib/url.c"), 2u);
  EXPECT_EQ(detect("a/b/c/lib/url.c", "lib/url.c"), 3u);
  EXPECT_EQ(detect("a/lib/url.c", "elsewhere"), 1u);
  EXPECT_EQ(detect("lib/url.c.orig", "lib/url.c.orig"), 0u);
}

TEST(FixPatchApply, AtItsPlaceAndWhereLinesMoved) {
  EXPECT_EQ(applied(b_to_x, "a\nb\nc\n"), "a\nx\nc\n");
  EXPECT_EQ(applied(b_to_x, "1\n2\n3\na\nb\nc\n4\n"), "1\n2\n3\na\nx\nc\n4\n");
  EXPECT_EQ(applied("@@ -1000,3 +1000,3 @@\n a\n-b\n+x\n c\n", "a\nb\nc\n4\n"), "a\nx\nc\n4\n");
  // The nearest of two.
  EXPECT_EQ(applied("@@ -6,3 +6,3 @@\n a\n-b\n+x\n c\n", "a\nb\nc\n4\na\nb\nc\n"),
            "a\nb\nc\n4\na\nx\nc\n");
}

TEST(FixPatchApply, LaterHunksMoveAlongAndDoNotOverlap) {
  std::string two = std::string(b_to_x) + "@@ -5,2 +5,3 @@\n e\n+new\n f\n";
  EXPECT_EQ(applied(two, "a\nb\nc\nd\ne\nf\n"), "a\nx\nc\nd\ne\nnew\nf\n");
  EXPECT_EQ(applied(two, "0\n0\na\nb\nc\nd\ne\nf\n"), "0\n0\na\nx\nc\nd\ne\nnew\nf\n");
  std::string again = std::string(b_to_x) + "@@ -1,3 +1,3 @@\n a\n-b\n+y\n c\n";
  EXPECT_THAT(applied(again, "a\nb\nc\n"), HasSubstr("does not apply"));
}

TEST(FixPatchApply, NewDeletedAndEndOfFile) {
  EXPECT_EQ(applied("@@ -0,0 +1,2 @@\n+a\n+b\n", ""), "a\nb\n");
  EXPECT_EQ(applied("@@ -1,2 +0,0 @@\n-a\n-b\n", "a\nb\n"), "");
  EXPECT_EQ(applied("@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n", "a"), "b\n");
  EXPECT_EQ(applied("@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n", "a\n"), "b");
  EXPECT_EQ(applied("@@ -1,2 +1,2 @@\n-a\n+x\n b\n\\ No newline at end of file\n", "a\nb"), "x\nb");
  EXPECT_EQ(applied("@@ -1 +1 @@\n-a\n+x\n", "a\nb"), "x\nb");
}

TEST(FixPatchApply, BlankLinesThatAMailerStripped) {
  EXPECT_EQ(applied("@@ -1,3 +1,3 @@\n a\n\n-b\n+x\n", "a\n\nb\n"), "a\n\nx\n");
}

TEST(FixPatchApply, LineEndsAreThoseOfTheFile) {
  EXPECT_EQ(applied("@@ -1,2 +1,3 @@\n a\n+x\n b\n", "a\r\nb\r\n"), "a\r\nx\r\nb\r\n");
  EXPECT_EQ(applied("@@ -1,2 +1,3 @@\r\n a\r\n+x\r\n b\r\n", "a\nb\n"), "a\nx\nb\n");
  // Lines that the fix leaves alone stay as they are.
  EXPECT_EQ(applied("@@ -1,2 +1,3 @@\n a\n+x\n b\n", "a\r\nb\nc\n"), "a\r\nx\nb\nc\n");
  EXPECT_EQ(applied("@@ -1 +1 @@\n-a\n+x\n\\ No newline at end of file\n", "a\r\n"), "x");
}

TEST(FixPatchApply, FuzzSkipsContextOnlyIfAllowed) {
  const char* hunk = "@@ -1,5 +1,5 @@\n 1\n 2\n-b\n+x\n 3\n 4\n";
  EXPECT_THAT(applied(hunk, "other\n2\nb\n3\nother\n"), HasSubstr("--fuzz"));
  EXPECT_EQ(applied(hunk, "other\n2\nb\n3\nother\n", 1), "other\n2\nx\n3\nother\n");
  EXPECT_THAT(applied(hunk, "1\n2\nB\n3\n4\n", 3), HasSubstr("does not apply"));
  // Nothing would be left to recognise the place of an insertion by.
  EXPECT_THAT(applied("@@ -1,2 +1,3 @@\n 1\n+x\n 2\n", "8\n9\n", 3), HasSubstr("does not apply"));
}

TEST(FixPatchApply, FailuresSayWhy) {
  EXPECT_THAT(applied(b_to_x, "a\nx\nc\n"), HasSubstr("is applied already"));
  std::string failure = applied(b_to_x, "a\nB\nc\n");
  EXPECT_THAT(failure, HasSubstr("f.c: hunk @@ -1,3 +1,3 @@ does not apply"));
  EXPECT_THAT(failure, HasSubstr("nowhere in the file: \"b\""));
  EXPECT_THAT(failure, HasSubstr("refresh the fix"));
  EXPECT_THAT(applied("@@ -2,0 +3 @@\n+x\n", "a\nb\nc\n"), HasSubstr("no line of context"));
}

}  // namespace
}  // namespace livecare::builder
