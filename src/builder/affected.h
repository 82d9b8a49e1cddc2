// Which compiles a fix reaches, and what of the fix nothing is compiled from.
//
// A unit is affected if its source or any file it includes is touched: known by asking the compiler
// itself (-M) for each unit that the include scan leaves. Of the other touched files, those that
// steer the build (makefiles, templates, generators, symbol lists) are refused by name unless they
// cannot reach a target; the rest (documentation, tests) is ignored, with a note.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "builder/fix_plan.h"
#include "builder/prepared_tree.h"
#include "objdiff/diff.h"

namespace livecare::builder {

struct AffectedUnit {
  uint32_t unit = 0;            // index into graph.units(); of the sibling for a new file
  std::string new_source;       // not empty: a file that the fix adds, compiled as `unit` is
  std::string name;             // for messages: path in the source tree
  std::vector<size_t> targets;  // indices into tree.targets
  std::vector<bool> certain;    // parallel to targets: see UnitUse
};

struct Affected {
  std::vector<AffectedUnit> units;
  std::vector<std::string> ignored;  // names of touched files, with why
  std::vector<objdiff::Refusal> refused;
};

Result<Affected> find_affected(const PreparedTree& tree, const FixPlan& plan, unsigned jobs);

enum class FileRole {
  source,     // C, C++, assembler, headers and what they include
  build,      // tells the build what to do: reaches the targets of its directory
  generator,  // sources are made from it: may reach any target
  packaging,  // below debian/
  other,      // documentation and data
};
FileRole role_of(const std::string& name);
// A directory of tests, documentation or examples by one of its names.
bool is_aside(const std::string& name);
// True when every changed line of a build file's patch is empty, a comment, or names one of the
// files (stems) that the fix adds beside the targets (tests, as a rule).
bool only_names_new_files(const FilePatch& patch, const std::vector<std::string>& new_stems);

}  // namespace livecare::builder
