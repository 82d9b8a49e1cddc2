// For tests of the linker: a library whose sources hold the fix under #ifdef FIXED, compiled as a
// distribution does (one text section, stripped), and again with function and data sections before
// and after the fix, then diffed, matched and linked.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "builder/link.h"
#include "match/test_build.h"

namespace livecare::builder {

using Sources = std::vector<std::pair<std::string, std::string>>;  // file name, text

class Case {
 public:
  Case(const std::string& compiler, const std::string& source, const std::string& suffix = "c",
       bool with_rebuilt = true)
      : Case(compiler, Sources{{"lib." + suffix, source}}, with_rebuilt) {}

  // link_flags: for the shipped file.
  Case(const std::string& compiler, const Sources& sources, bool with_rebuilt = true,
       const std::string& link_flags = "") {
    make(compiler, sources, with_rebuilt, link_flags);
  }

  std::string refusals() const {
    std::string text;
    for (const auto& refusal : output->refused)
      text += refusal.function + " " + refusal.section + ": " + refusal.reason + "\n";
    return text;
  }
  const patchfmt::Object& object() const { return output->object; }

  match::TestBuild build;
  std::optional<LinkOutput> output;

 private:
  void make(const std::string& compiler, const Sources& sources, bool with_rebuilt,
            const std::string& link_flags) {
    const std::string compile = compiler + " -fPIC -I" LIVECARE_AUTHOR_INCLUDE;
    std::string plain;
    for (const auto& [name, text] : sources) {
      build.write(name, text);
      build.sh(compile + " -c " + name + " -o " + name + ".plain.o");
      const std::string sections = compile + " -ffunction-sections -fdata-sections -c " + name;
      build.sh(sections + " -o " + name + ".old.o && " + sections + " -DFIXED -o " + name +
               ".new.o");
      plain += " " + name + ".plain.o";
    }
    build.sh(compiler + " -shared -o rebuilt.so" + plain +
             " -Wl,--build-id -Wl,-soname,libcase.so.1 " + link_flags +
             " && strip -o shipped.so rebuilt.so");
    images_.push_back(build.open("shipped.so"));
    images_.push_back(build.open("rebuilt.so"));
    LinkInput input;
    input.shipped = &images_[0];
    input.rebuilt = with_rebuilt ? &images_[1] : nullptr;
    auto matcher = match::Matcher::create(*input.shipped, input.rebuilt);
    ASSERT_TRUE(matcher.ok()) << matcher.error().text();
    input.matcher = &*matcher;
    for (const auto& [name, text] : sources) {
      images_.push_back(build.open(name + ".old.o"));
      const elf::Image& original = images_.back();
      images_.push_back(build.open(name + ".new.o"));
      auto diff = objdiff::diff(original, images_.back());
      ASSERT_TRUE(diff.ok()) << diff.error().text();
      input.units.push_back({name, &original, &images_.back(), std::move(*diff)});
    }
    auto linked = link(input);
    ASSERT_TRUE(linked.ok()) << linked.error().text();
    output.emplace(std::move(*linked));
  }

  std::deque<elf::Image> images_;
};

}  // namespace livecare::builder
