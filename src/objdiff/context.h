// Everything that one run of diff() knows; the judges of functions, data and sections share it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "objdiff/compare.h"
#include "objdiff/diff.h"
#include "objdiff/kernel_entries.h"
#include "objdiff/object_map.h"
#include "objdiff/pairing.h"
#include "objdiff/parts.h"

namespace livecare::objdiff {

struct Context {
  const ObjectMap& original;
  const ObjectMap& patched;
  const Options& options;
  const Pairing& pairing;
  Comparer& comparer;
  const Parts& original_parts;
  const Parts& patched_parts;
  Diff& out;
  KernelEntries* kernel = nullptr;  // objects of Linux only
  // Of the original; kernel only.
  std::optional<std::set<AtomId>> traced;
  std::set<AtomId> replaced;  // patched functions that are changed or new, with their parts

  void refuse(std::string_view function, std::string_view section, std::string reason) {
    out.refused.push_back({std::string(function), std::string(section), std::move(reason)});
  }
};

// Fills changed, new and removed functions and context.replaced.
void judge_functions(Context& context);
// Fills changed and new data.
void judge_data(Context& context);
// Refuses what differs in sections that are neither code nor plain data.
void judge_sections(Context& context);
// Refuses symbols that mean something else now: aliases, versions, absolute and common symbols.
void judge_symbols(Context& context);

}  // namespace livecare::objdiff
