// Debian's suites, for what another one than this machine's has: kernels, and the compilers that
// made them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace livecare::builder {

// What the sources files of this machine name; empty where they name none.
struct Mirrors {
  std::string main;
  std::string security;
};
Mirrors mirrors_of(std::string_view sources);

// In the order in which they are looked through.
std::vector<std::string> suite_names();
// The lines of a sources file for a suite; empty for one that is not known, or without a mirror.
std::string suite_sources(const Mirrors& mirrors, std::string_view suite);

}  // namespace livecare::builder
