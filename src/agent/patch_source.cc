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

std::optional<uint32_t> level_of(std::string_view digits) {
  uint32_t level = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), level);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return level;
}

bool is_of_day(const patchfmt::Patchset& patchset, std::optional<Day> not_after) {
  auto day = day_of_time(patchset.time);
  return !not_after || (day && *day <= *not_after);
}

}  // namespace

Wanted wanted_object(const std::string& build_id) {
  return {build_id, "patch", [build_id](const patchfmt::Patchset& patchset) {
            return std::any_of(patchset.objects.begin(), patchset.objects.end(),
                               [&](const auto& object) { return object.build_id == build_id; });
          }};
}

Wanted wanted_kernel(const std::string& kernel_id, const std::string& type) {
  return {kernel_id, type == "default" ? "patch" : "patch." + type,
          [kernel_id, type](const patchfmt::Patchset& patchset) {
            return std::any_of(patchset.modules.begin(), patchset.modules.end(),
                               [&](const patchfmt::KernelModule& module) {
                                 return module.kernel_id == kernel_id && module.type == type;
                               });
          }};
}

fs::path PatchCache::path(const Wanted& wanted, uint32_t level) const {
  return directory_ / wanted.key / std::to_string(level) / wanted.file;
}

Result<patchfmt::Patchset> PatchCache::open(const Wanted& wanted, uint32_t level) const {
  fs::path file = path(wanted, level);
  TRY(TrustedPatch patch, open_trusted_file(file, ring_, ring_name_));
  if (!wanted.is_in(patch.patchset) || patch.patchset.level != level)
    return make_error(ErrorCode::untrusted, file.native(),
                      "holds {} level {}, which is for something else", patch.patchset.name,
                      patch.patchset.level);
  return std::move(patch.patchset);
}

std::optional<FetchedPatch> PatchCache::newest(const Wanted& wanted,
                                               std::optional<Day> not_after) const {
  std::vector<uint32_t> levels;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(directory_ / wanted.key, failure))
    if (auto level = level_of(entry.path().filename().native())) levels.push_back(*level);
  std::sort(levels.rbegin(), levels.rend());
  for (uint32_t level : levels) {
    auto patchset = open(wanted, level);
    if (!patchset.ok() || !is_of_day(*patchset, not_after)) continue;
    return FetchedPatch{path(wanted, level), std::move(patchset).value(), false};
  }
  return std::nullopt;
}

Result<patchfmt::Patchset> PatchCache::add(const Wanted& wanted, uint32_t level, ByteView file,
                                           std::string_view name) const {
  TRY(TrustedPatch patch, open_trusted(file, name, ring_, ring_name_));
  if (!wanted.is_in(patch.patchset) || patch.patchset.level != level)
    return make_error(
        ErrorCode::untrusted, name,
        "holds {} level {}, which is not for {} level {}; the patch server is damaged "
        "or lies",
        patch.patchset.name, patch.patchset.level, wanted.key, level);
  fs::path cached = path(wanted, level);
  TRY_STATUS(write_file_atomic(cached, file, 0644));
  TRY_STATUS(write_file_atomic(cached.parent_path() / "kpatch.info",
                               ByteView(patchfmt::kpatch_info(patch.patchset)), 0644));
  return std::move(patch.patchset);
}

std::string PatchCache::kpatch_info(const Wanted& wanted, uint32_t level) const {
  auto patchset = open(wanted, level);
  return patchset.ok() ? patchfmt::kpatch_info(*patchset) : std::string();
}

Result<PatchSource> PatchSource::create(std::string_view server, std::string_view prefix,
                                        const Paths& paths, PatchCache cache) {
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
  return PatchSource(std::move(directory), std::move(cache));
}

Result<std::optional<uint32_t>> PatchSource::newest_level(const Wanted& wanted) const {
  fs::path path = directory_ / wanted.key / "latest.v2";
  auto text = read_text(path, latest_bytes_max);
  if (!text.ok() && text.error().code == ErrorCode::not_found) return std::optional<uint32_t>();
  if (!text.ok()) return text.take_error();
  auto level = level_of(text->substr(0, text->find_last_not_of(" \n\r\t") + 1));
  if (!level)
    return make_error(ErrorCode::invalid_input, path.native(),
                      "is not a decimal level; the patch server is damaged");
  return level;
}

Result<std::optional<FetchedPatch>> PatchSource::fetch(
    const Wanted& wanted, uint32_t level, const std::function<void()>& on_download) const {
  fs::path cached = cache_.path(wanted, level);
  auto known = cache_.open(wanted, level);
  fs::path remote = directory_ / wanted.key / std::to_string(level) / wanted.file;
  auto bytes = read_file(remote, patchfmt::patch_file_bytes_max);
  if (!bytes.ok() && bytes.error().code == ErrorCode::not_found)
    return std::optional<FetchedPatch>();
  if (!bytes.ok()) return bytes.take_error();
  // The server may have signed or built it again: then the cache is not what it offers.
  auto old = known.ok() ? read_file(cached, patchfmt::patch_file_bytes_max) : Bytes{};
  if (known.ok() && old.ok() && *old == *bytes)
    return std::optional(FetchedPatch{cached, std::move(known).value(), false});
  on_download();
  TRY(patchfmt::Patchset patchset, cache_.add(wanted, level, *bytes, remote.native()));
  return std::optional(FetchedPatch{cached, std::move(patchset), true});
}

Result<std::optional<FetchedPatch>> PatchSource::newest(
    const Wanted& wanted, std::optional<Day> not_after,
    const std::function<void()>& on_download) const {
  TRY(auto latest, newest_level(wanted));
  if (!latest) return std::optional<FetchedPatch>();
  uint32_t lowest = *latest > levels_tried_max ? *latest - levels_tried_max : 0;
  for (uint32_t level = *latest; level > lowest; --level) {
    TRY(auto patch, fetch(wanted, level, on_download));
    if (!patch && level == *latest)
      return make_error(ErrorCode::invalid_input, (directory_ / wanted.key / "latest.v2").native(),
                        "names level {}, which is not there; the patch server is damaged", level);
    if (patch && is_of_day(patch->patchset, not_after)) return patch;
  }
  return std::optional<FetchedPatch>();
}

}  // namespace livecare::agent
