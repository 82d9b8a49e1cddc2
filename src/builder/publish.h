// Where finished patches go: a directory that is a patch server as it stands
// (PATCH_SERVER=file://).
//   DIR/NAME.lcpatch, DIR/BUILD-ID/LEVEL/{patch,kpatch.info}, DIR/BUILD-ID/latest.v2, DIR/maker.pub
// A reader sees a level only when it is complete: latest.v2 is written last.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

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

// The next free "UYYYYMMDD_NN" of a directory for a UTC date "YYYYMMDD"; of kernel patches 'K'.
Result<std::string> next_patchset_name(const std::filesystem::path& directory,
                                       const std::string& date, char kind = 'U');
// The highest level published for a build-ID or kernel ID; 0 without one.
uint32_t latest_level(const std::filesystem::path& directory, const std::string& id);

// Where a patchset lies for what it is for: DIR/ID/LEVEL/FILE (docs/formats/patch.md).
struct PublishedPlace {
  std::string id;    // a build-ID or a kernel ID
  std::string type;  // of a kernel patch: ".extra", ".free"; else empty

  std::string file() const { return "patch" + type; }
};
std::vector<PublishedPlace> places_of(const patchfmt::Patchset& patchset);

struct Published {
  std::filesystem::path file;
  uint64_t bytes = 0;
};
Result<Published> publish(const std::filesystem::path& directory,
                          const patchfmt::Patchset& patchset, const trust::PrivateKey& key);

}  // namespace livecare::builder
