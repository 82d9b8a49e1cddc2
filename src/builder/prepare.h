// Gets a source tree built once, under recording, into the cache: a distribution's source package
// as the distribution builds it, or any tree with the user's own command.
//
// The entry is locked for as long as the Workspace lives; a second run for the same tree waits.
// An entry that was not finished (no prepared.json: the tool was killed, the build failed) is made
// anew; one that was left with a fix applied (journal there) is restored first.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "builder/prepared_tree.h"

namespace livecare::builder {

struct PrepareOptions {
  std::filesystem::path cache;  // default_cache() when empty
  unsigned jobs = 0;            // 0: as many as there are processors
};

std::filesystem::path cache_directory(const PrepareOptions& options);  // absolute

struct Workspace {
  Fd lock;
  PreparedTree tree;
  bool was_cached = false;
  std::map<std::string, double> seconds;  // per stage: "fetch", "dependencies", "build", "pair"
};

// "NAME=VERSION".
Result<Workspace> prepare_package(const std::string& name_and_version,
                                  const PrepareOptions& options);

struct SourceBuild {
  std::filesystem::path source;                // directory
  std::string command;                         // run by sh in a copy of it
  std::vector<std::filesystem::path> targets;  // shipped files
};
Result<Workspace> prepare_source(const SourceBuild& build, const PrepareOptions& options);

// Downloads and unpacks the shipped binary packages of NAME=VERSION below directory/PACKAGE.
Result<std::vector<std::string>> fetch_package(const std::string& name_and_version,
                                               const std::filesystem::path& directory,
                                               const PrepareOptions& options);

}  // namespace livecare::builder
