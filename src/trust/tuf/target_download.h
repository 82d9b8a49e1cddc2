// One target file from a repository to a directory of this host. See Updater::download.
#pragma once

#include <filesystem>
#include <string>

#include "trust/tuf/fetcher.h"
#include "trust/tuf/metadata.h"

namespace livecare::trust::tuf {

// `is_prefixed`: the repository names its files by a digest in front (consistent snapshots). Safe
// to be killed at any moment: the name is there with the whole file, checked and on the disk, or as
// it was before.
Result<std::filesystem::path> download_target(Fetcher& fetcher, const std::string& path,
                                              const TargetFile& file, bool is_prefixed,
                                              const std::filesystem::path& directory);

}  // namespace livecare::trust::tuf
