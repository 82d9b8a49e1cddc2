// Where compilers run: this machine, or a tree of another suite of Debian with the tools that a
// kernel of that suite was made with. Such a tree is made when it is missing and kept in the cache.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"
#include "builder/apt.h"

namespace livecare::builder {

class BuildRoot {
 public:
  // This machine.
  BuildRoot() = default;
  // Of a suite, below cache/roots, with a package installed besides what every kernel needs; waits
  // while another process makes it. Needs root and mmdebstrap.
  static Result<BuildRoot> make(const std::filesystem::path& cache, const std::string& suite,
                                const Apt& apt, const std::string& package);
  // One that make() made; not_found when it is gone.
  static Result<BuildRoot> open(const std::filesystem::path& cache, const std::string& suite);

  // Runs in here. The directories are there under their own names, and the command's own one has to
  // be below one of them.
  Command command(std::vector<std::string> arguments,
                  const std::vector<std::filesystem::path>& directories) const;

 private:
  explicit BuildRoot(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;  // empty: this machine
};

}  // namespace livecare::builder
