// Which structures, unions, classes and enumerations a fix lays out anew.
//
// Objects of such a type that are alive when the patch is applied have the old layout, and new code
// would misread them: a patch that compiles, matches and crashes. So a unit whose changed code
// knows a type in two layouts is refused unless the fix's author has reviewed it
// (LIVECARE_LAYOUT_OK in livecare/patch.h); shadow data are the usual remedy.
//
// Compares the debug information of the two objects of a unit; pure apart from a memory file.
// Thread-safe.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "elf/image.h"

namespace livecare::builder {

struct LayoutChange {
  std::string type;  // "struct Curl_easy", "enum state", "class ns::Widget"
  std::string what;  // "grows from 120 to 128 bytes", "member x moves from byte 8 to byte 16"
};

// In order of the type's name. An object without debug information is an error: nothing is proved.
Result<std::vector<LayoutChange>> layout_changes(const elf::Image& original,
                                                 const elf::Image& patched);

// The types that the fix's author has reviewed: section .livecare.layout_ok of the patched object.
std::set<std::string> reviewed_layouts(const elf::Image& patched);

}  // namespace livecare::builder
