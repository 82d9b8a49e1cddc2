// A source tree that was built once under recording: what `livecare-build` keeps in its cache.
//
// Layout of one entry (CACHE/trees/KEY/):
//   lock           held (flock) while the entry is prepared or used
//   tree/ or NAME-VERSION/   the built source tree, always as the build left it (see tree_edit.h)
//   shipped/       unpacked binary packages, or copies of the --target files
//   record         every compiler call; build.log; objects/ (originals compiled before)
//   prepared.json  written last: without it the entry is made anew
// Paths inside the record are those that the build saw (`root_seen`); with a private mount
// namespace that is not where the files are (`root`).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/build_graph.h"
#include "builder/build_space.h"
#include "builder/record.h"

namespace livecare::builder {

struct PreparedTarget {
  std::filesystem::path shipped;  // stripped file
  std::filesystem::path rebuilt;  // what the build left for it; on disk
  std::string rebuilt_seen;       // the same path as in the record
  std::string name;               // soname or file name
  std::string package;            // "libcurl4 7.88.1-10+deb12u5", empty with --source
  std::string build_id;
  std::string comparison;  // "identical" or which sections differ
};

struct PreparedTree {
  std::filesystem::path entry;  // CACHE/trees/KEY
  std::filesystem::path root;   // the tree on disk
  std::string root_seen;        // the tree as the build saw it
  std::string source_package;   // "curl 7.88.1-10+deb12u5", or the directory's name
  std::vector<PreparedTarget> targets;
  std::vector<std::string> unpaired;  // shipped files that the build did not make
  // Made anew from the record at every load.
  std::vector<Call> calls;
  BuildGraph graph;

  // Where its commands run.
  BuildSpace space() const { return BuildSpace(root, root_seen, entry / "space"); }
  std::filesystem::path on_disk(const std::string& seen) const;
  std::string as_seen(const std::filesystem::path& path) const;
};

Status save_prepared(const PreparedTree& tree);
// not_found: there is none (never finished).
Result<PreparedTree> load_prepared(const std::filesystem::path& entry);

// Reads the record of an entry and replays it.
Status replay_record(PreparedTree& tree);

}  // namespace livecare::builder
