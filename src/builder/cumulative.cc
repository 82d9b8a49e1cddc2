// When does a new level hold a published fix? A patch file has no text of its fixes, only their
// names, their CVEs and the functions that they replace together. In this order:
//
//   - every CVE of the published fix is named by the new level: yes, under whatever file name;
//   - a fix of the same file name, without CVEs or with one in common: yes, perhaps a newer
//   version;
//   - a fix of the same file name with other CVEs ("fix.patch" twice): only if every function that
//     the published level replaces is replaced again.
//
// Rejected: to ask for the same functions always. A fix may have been corrected to touch fewer.
#include "builder/cumulative.h"

#include <algorithm>
#include <set>

#include "base/file_system.h"
#include "builder/publish.h"
#include "patchfmt/codec.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

using patchfmt::Fix;
using patchfmt::Object;
using patchfmt::Patchset;

const Object* find_object(const Patchset& patchset, std::string_view build_id) {
  for (const Object& object : patchset.objects)
    if (object.build_id == build_id) return &object;
  return nullptr;
}

bool replaces_all(const Object& fresh, const Object& published) {
  std::set<uint64_t> replaced;
  for (const patchfmt::FunctionPatch& function : fresh.functions) replaced.insert(function.address);
  return std::all_of(published.functions.begin(), published.functions.end(),
                     [&](const auto& function) { return replaced.contains(function.address); });
}

bool has_fix(const Patchset& fresh, const Fix& published, bool same_functions) {
  std::set<std::string_view> cves;
  for (const Fix& fix : fresh.fixes) cves.insert(fix.cves.begin(), fix.cves.end());
  auto in = [](const auto& set) {
    return [&set](const std::string& cve) {
      return std::find(set.begin(), set.end(), cve) != set.end();
    };
  };
  if (!published.cves.empty() &&
      std::all_of(published.cves.begin(), published.cves.end(), in(cves)))
    return true;
  return std::any_of(fresh.fixes.begin(), fresh.fixes.end(), [&](const Fix& fix) {
    if (fix.name != published.name) return false;
    const bool agrees = fix.cves.empty() || published.cves.empty() ||
                        std::any_of(published.cves.begin(), published.cves.end(), in(fix.cves));
    return agrees || same_functions;
  });
}

std::string describe(const Fix& fix) {
  return fix.cves.empty() ? fix.name : fmt::format("{} ({})", fix.name, fmt::join(fix.cves, ", "));
}

Result<Patchset> read_published(const fs::path& directory, const PublishedPlace& place,
                                uint32_t level) {
  fs::path path = directory / place.id / std::to_string(level) / place.file();
  auto bytes = read_file(path);
  auto file = bytes.ok() ? patchfmt::read(*bytes, path.native())
                         : Result<patchfmt::PatchFile>(bytes.take_error());
  if (!file.ok())
    return make_error(ErrorCode::conflict, directory.native(),
                      "level {} is published there, but what it holds cannot be read ({}); put the "
                      "file back, or give another --out",
                      level, file.error().text());
  return std::move(file->patchset);
}

struct Missing {
  std::vector<std::string> fixes, objects;
  uint32_t level = 0;

  void add(std::vector<std::string>& list, std::string text) {
    if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(std::move(text));
  }
  void compare(const Patchset& fresh, const std::string& id, const Patchset& published) {
    const Object* object = find_object(fresh, id);
    const Object* before = find_object(published, id);
    const bool same_functions =
        object != nullptr && (before == nullptr || replaces_all(*object, *before));
    for (const Fix& fix : published.fixes)
      if (!has_fix(fresh, fix, same_functions)) add(fixes, describe(fix));
    for (const Object& other : published.objects)
      if (find_object(fresh, other.build_id) == nullptr)
        add(objects, fmt::format("{} ({})", other.soname, other.build_id));
    if (!fixes.empty() || !objects.empty()) level = std::max(level, published.level);
  }
};

}  // namespace

Status check_cumulative(const fs::path& directory, const Patchset& patchset) {
  Missing missing;
  for (const PublishedPlace& place : places_of(patchset)) {
    const uint32_t level = latest_level(directory, place.id);
    std::error_code ignored;
    fs::path of_level = directory / place.id / std::to_string(level);
    // A level of a kernel may have been published for other types only.
    if (level == 0 || (!patchset.modules.empty() && fs::exists(of_level, ignored) &&
                       !fs::exists(of_level / place.file(), ignored)))
      continue;
    TRY(Patchset published, read_published(directory, place, level));
    missing.compare(patchset, place.id, published);
  }
  if (!missing.fixes.empty())
    return make_error(ErrorCode::conflict, directory.native(),
                      "level {} is published there with {}, which this patch would take out of "
                      "memory again: a level replaces the one before as a whole; give every fix "
                      "with a --fix of its own, or another --out",
                      missing.level, fmt::join(missing.fixes, ", "));
  if (!missing.objects.empty())
    return make_error(ErrorCode::conflict, directory.native(),
                      "level {} is published there for {} too, which this patch does not change: a "
                      "level replaces the one before as a whole; give its --target and every fix "
                      "with a --fix of its own, or another --out",
                      missing.level, fmt::join(missing.objects, ", "));
  return ok_status();
}

}  // namespace livecare::builder
