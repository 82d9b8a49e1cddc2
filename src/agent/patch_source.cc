#include "agent/patch_source.h"

#include <algorithm>
#include <charconv>

#include "base/file_system.h"
#include "patchfmt/codec.h"

namespace livecare::agent {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view file_scheme = "file://";
constexpr uint64_t latest_bytes_max = 64;

bool has_object(const patchfmt::Patchset& patchset, std::string_view build_id) {
  return std::any_of(patchset.objects.begin(), patchset.objects.end(),
                     [&](const auto& object) { return object.build_id == build_id; });
}

fs::path level_directory(const fs::path& base, const std::string& build_id, uint32_t level) {
  return base / build_id / std::to_string(level);
}

}  // namespace

Result<PatchSource> PatchSource::create(std::string_view server, std::string_view prefix,
                                        const Paths& paths, std::vector<trust::PublicKey> ring) {
  if (server.empty())
    return make_error(ErrorCode::not_found, paths.configuration.native(),
                      "PATCH_SERVER is not set; add PATCH_SERVER=file:///DIRECTORY");
  if (!server.starts_with(file_scheme))
    return make_error(ErrorCode::unsupported, server,
                      "patch servers over HTTP are not in this build; set "
                      "PATCH_SERVER=file:///DIRECTORY");
  fs::path directory = fs::path(server.substr(file_scheme.size())) / prefix;
  std::error_code failure;
  if (!fs::is_directory(directory, failure))
    return make_error(ErrorCode::io, directory.native(),
                      "patch server cannot be reached: no such directory; check PATCH_SERVER and "
                      "PREFIX");
  return PatchSource(std::move(directory), paths, std::move(ring));
}

Result<std::optional<uint32_t>> PatchSource::newest_level(const std::string& build_id) const {
  fs::path path = directory_ / build_id / "latest.v2";
  auto text = read_text(path, latest_bytes_max);
  if (!text.ok() && text.error().code == ErrorCode::not_found) return std::optional<uint32_t>();
  if (!text.ok()) return text.take_error();
  std::string digits = text->substr(0, text->find_last_not_of(" \n\r\t") + 1);
  uint32_t level = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), level);
  if (error != std::errc() || end != digits.data() + digits.size())
    return make_error(ErrorCode::invalid_input, path.native(),
                      "is not a decimal level; the patch server is damaged");
  return std::optional<uint32_t>(level);
}

Result<std::optional<FetchedPatch>> PatchSource::fetch(
    const std::string& build_id, uint32_t level, const std::function<void()>& on_download) const {
  fs::path cached = level_directory(paths_.cache, build_id, level) / "patch";
  auto known = open_trusted_file(cached, ring_, paths_.keys.native());
  fs::path remote = level_directory(directory_, build_id, level) / "patch";
  auto bytes = read_file(remote, patchfmt::patch_file_bytes_max);
  if (!bytes.ok() && bytes.error().code == ErrorCode::not_found)
    return std::optional<FetchedPatch>();
  if (!bytes.ok()) return bytes.take_error();
  // The server may have signed or built it again: then the cache is not what it offers.
  auto old = known.ok() ? read_file(cached, patchfmt::patch_file_bytes_max) : Bytes{};
  if (known.ok() && old.ok() && *old == *bytes)
    return std::optional(FetchedPatch{cached, std::move(known->patchset), false});
  on_download();
  TRY(TrustedPatch patch, open_trusted(*bytes, remote.native(), ring_, paths_.keys.native()));
  if (!has_object(patch.patchset, build_id) || patch.patchset.level != level)
    return make_error(ErrorCode::untrusted, remote.native(),
                      "holds {} level {}, which is not for build-ID {} level {}; the patch server "
                      "is damaged or lies",
                      patch.patchset.name, patch.patchset.level, build_id, level);
  TRY_STATUS(write_file_atomic(cached, *bytes, 0644));
  TRY_STATUS(write_file_atomic(cached.parent_path() / "kpatch.info",
                               ByteView(patchfmt::kpatch_info(patch.patchset)), 0644));
  return std::optional(FetchedPatch{cached, std::move(patch.patchset), true});
}

Result<std::optional<FetchedPatch>> PatchSource::newest(
    const std::string& build_id, std::optional<Day> not_after,
    const std::function<void()>& on_download) const {
  TRY(auto latest, newest_level(build_id));
  if (!latest) return std::optional<FetchedPatch>();
  uint32_t lowest = *latest > levels_tried_max ? *latest - levels_tried_max : 0;
  for (uint32_t level = *latest; level > lowest; --level) {
    TRY(auto patch, fetch(build_id, level, on_download));
    if (!patch && level == *latest)
      return make_error(ErrorCode::invalid_input, (directory_ / build_id / "latest.v2").native(),
                        "names level {}, which is not there; the patch server is damaged", level);
    if (!patch) continue;
    auto day = day_of_time(patch->patchset.time);
    if (!not_after || (day && *day <= *not_after)) return patch;
  }
  return std::optional<FetchedPatch>();
}

std::string cached_kpatch_info(const Paths& paths, const std::vector<trust::PublicKey>& ring,
                               const std::string& build_id, uint32_t level) {
  fs::path cached = level_directory(paths.cache, build_id, level) / "patch";
  auto patch = open_trusted_file(cached, ring, paths.keys.native());
  if (!patch.ok() || !has_object(patch->patchset, build_id)) return "";
  return patchfmt::kpatch_info(patch->patchset);
}

}  // namespace livecare::agent
