// Lays out the image of one target from the diffs of its translation units: changed and new
// functions, the data they need, GOT words, PLT stubs, unwind tables and exception tables; turns
// every reference to the outside into a patchfmt symbol with its proof. Refuses, by name, whatever
// is not proved. Pure apart from the log.
#pragma once

#include <string>
#include <vector>

#include "elf/image.h"
#include "match/matcher.h"
#include "objdiff/diff.h"
#include "patchfmt/patch.h"

namespace livecare::builder {

struct Unit {                            // one translation unit that belongs to this target
  std::string source_file;               // as given to the compiler: "lib/url.c"
  const elf::Image* original = nullptr;  // null: a file that the fix adds
  const elf::Image* patched = nullptr;
  objdiff::Diff diff;
};

struct LinkInput {
  const elf::Image* shipped = nullptr;
  const elf::Image* rebuilt = nullptr;  // unstripped, may be null
  const match::Matcher* matcher = nullptr;
  std::vector<Unit> units;  // only those with changes
  std::string package;      // for Object::package
};

struct LinkOutput {
  patchfmt::Object object;
  std::vector<objdiff::Refusal> refused;  // not empty: object must not be used
};

Result<LinkOutput> link(const LinkInput& input);

}  // namespace livecare::builder
