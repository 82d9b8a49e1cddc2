// Where finished patches go: a directory that is a patch server as it stands
// (PATCH_SERVER=file://).
//   DIR/NAME.lcpatch, DIR/BUILD-ID/LEVEL/{patch,kpatch.info}, DIR/BUILD-ID/latest.v2, DIR/maker.pub
// A reader sees a level only when it is complete: latest.v2 is written last.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "patchfmt/patch.h"
#include "trust/keys.h"

namespace livecare::builder {

inline constexpr unsigned patchsets_per_day_max = 99;

// $XDG_CONFIG_HOME/livecare/maker.key, or ~/.config/livecare/maker.key.
std::filesystem::path default_key();
// The maker's key; made, with its public half beside it (maker.pub), when the default one is
// missing. A key that was named explicitly must exist.
Result<trust::PrivateKey> load_maker_key(const std::filesystem::path& named);

// Makes the directory if need be and checks that it can be written.
Status check_output_directory(const std::filesystem::path& directory);

// The next free "UYYYYMMDD_NN" of a directory for a UTC date "YYYYMMDD".
Result<std::string> next_patchset_name(const std::filesystem::path& directory,
                                       const std::string& date);
// The highest level published for a build-ID; 0 without one.
uint32_t latest_level(const std::filesystem::path& directory, const std::string& build_id);

struct Published {
  std::filesystem::path file;
  uint64_t bytes = 0;
};
Result<Published> publish(const std::filesystem::path& directory,
                          const patchfmt::Patchset& patchset, const trust::PrivateKey& key);

}  // namespace livecare::builder
