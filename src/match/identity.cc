#include "match/identity.h"

#include <elf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

namespace livecare::match {
namespace {

constexpr size_t named_differences_max = 12;

bool is_loaded(const elf::Section& section) {
  return (section.flags & SHF_ALLOC) && section.index;
}

// The build-ID is a digest over everything, debug information included: a hint, never a difference.
bool may_differ(const elf::Section& section) {
  return section.name == ".note.gnu.build-id";
}

bool same_content(const elf::Section& a, const elf::Section& b) {
  return a.address == b.address && a.size == b.size && a.type == b.type && a.flags == b.flags &&
         a.bytes == b.bytes;
}

}  // namespace

Identity compare_files(const elf::Image& shipped, const elf::Image& rebuilt) {
  Identity result;
  std::multimap<std::string_view, const elf::Section*> theirs;
  for (const auto& section : rebuilt.sections())
    if (is_loaded(section)) theirs.emplace(section.name, &section);

  std::vector<std::string> different;
  for (const auto& section : shipped.sections()) {
    if (!is_loaded(section)) continue;
    auto found = theirs.find(section.name);
    if (found == theirs.end()) {
      different.push_back(fmt::format("{} (missing in the rebuilt file)", section.name));
      continue;
    }
    if (same_content(section, *found->second))
      ++result.sections_equal;
    else if (!may_differ(section))
      different.push_back(std::string(section.name));
    theirs.erase(found);
  }
  for (const auto& [name, section] : theirs)
    different.push_back(fmt::format("{} (only in the rebuilt file)", name));

  result.same_build_id = !shipped.build_id().empty() && shipped.build_id() == rebuilt.build_id();
  const bool comparable =
      shipped.machine() == rebuilt.machine() && shipped.kind() == rebuilt.kind();
  result.identical = comparable && different.empty() && result.sections_equal > 0;
  if (result.identical) {
    result.why =
        fmt::format("{}{} loaded sections equal", result.same_build_id ? "same build-ID and " : "",
                    result.sections_equal);
    return result;
  }
  const size_t count = different.size();
  different.resize(std::min(count, named_differences_max));
  result.why =
      comparable ? fmt::format("{} loaded sections differ: {}{}", count, fmt::join(different, ", "),
                               count > named_differences_max ? ", ..." : "")
                 : "the rebuilt file is of another kind or machine";
  return result;
}

}  // namespace livecare::match
