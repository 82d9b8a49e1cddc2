// An update of the kernel:
//
//   find     the newest level that is signed, of this kernel (the SHA-1 of /proc/version) and type
//   attempt  write down, on disk, that this level is being tried in this boot
//   load     the module, which stages it; nothing runs in it yet
//   switch   kcare.ko moves every function in one stop, or says who stood in the way
//   settle   write down that it held, unload the level before, load the switches of sysctl.conf
//
// Cut off at any point, the next run finds the truth in the kernel: staged modules that are not
// applied are leftovers and are unloaded; what is applied is applied. If the machine went down
// between attempt and settle, the level may be what brought it down, and after the reboot it is not
// tried again by itself: only by a person's --update. The boot's ID tells the two apart.
//
// Rejected: to remember what is applied in a file. It lies after a crash, and a rescue system or a
// kexec make it lie about another kernel.
#include "agent/kernel_patches.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "agent/json.h"
#include "base/file_system.h"
#include "base/log.h"
#include "base/process.h"
#include "trust/keys.h"

namespace livecare::agent {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t attempt_bytes_max = 4096;
constexpr std::string_view tried = "trying";
constexpr std::string_view held = "applied";
constexpr std::string_view given_up = "failed";
constexpr const char* no_levels = "none";

std::string boot_id() {
  auto text = read_proc("/proc/sys/kernel/random/boot_id");
  return text.ok() ? text->substr(0, text->find('\n')) : "unknown";
}

const patchfmt::KernelModule* module_for(const patchfmt::Patchset& patchset,
                                         std::string_view kernel, std::string_view type) {
  for (const patchfmt::KernelModule& module : patchset.modules)
    if (module.kernel_id == kernel && module.type == type) return &module;
  return nullptr;
}

void load_sysctl(const fs::path& path, std::vector<std::string>& notes) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  // -e: switches of patches that are not in this level are no error.
  auto result = run({.arguments = {"sysctl", "-q", "-e", "-p", path.native()}});
  if (!result.ok())
    notes.push_back(result.error().text());
  else if (result->exit_code != 0)
    notes.push_back(fmt::format("{}: sysctl: {}", path.native(), result->errors));
}

// Only a patch with symlink owner match has it.
void set_symlink_group(const fs::path& path, const std::string& group,
                       std::vector<std::string>& notes) {
  std::error_code ignored;
  if (group.empty() || !fs::exists(path, ignored)) return;
  std::ofstream file(path);
  file << group << std::endl;
  if (!file) notes.push_back(fmt::format("{}: {} cannot be written", path.native(), group));
}

}  // namespace

Result<std::string> KernelPatches::kernel_id() const {
  TRY(std::string version, kernel_.version_text());
  return trust::sha1_hex(ByteView(version));
}

Result<PatchCache> KernelPatches::cache() const {
  TRY(auto ring, trust::load_ring(paths_.keys));
  if (ring.empty())
    return make_error(ErrorCode::untrusted, paths_.keys.native(),
                      "holds no key, so no patch can be trusted; import the maker's key with "
                      "kcarectl --import-key");
  return PatchCache(paths_.kernel_cache, std::move(ring), paths_.keys.native());
}

Result<KernelPatches::Offer> KernelPatches::find(const KernelUpdateRequest& request,
                                                 const Wanted& wanted) const {
  TRY(PatchCache cached, cache());
  if (request.from != PatchesFrom::server) {
    auto patch = cached.newest(wanted, request.not_after);
    if (patch || request.from == PatchesFrom::cache) return Offer{std::move(patch), true};
  }
  TRY(PatchSource source,
      PatchSource::create(request.server, request.prefix, paths_, std::move(cached)));
  TRY(auto latest, source.newest_level(wanted));
  TRY_STATUS(note_latest(wanted, latest));
  if (!latest) return Offer{std::nullopt, false};
  bool downloaded = false;
  TRY(auto patch, source.newest(wanted, request.not_after, [&] {
    if (!std::exchange(downloaded, true)) fmt::print("Downloading updates\n");
  }));
  if (patch && !downloaded) fmt::print("Updates already downloaded\n");
  return Offer{std::move(patch), true};
}

// For --status, which asks nobody.
Status KernelPatches::note_latest(const Wanted& wanted, std::optional<uint32_t> level) const {
  std::string text = (level ? std::to_string(*level) : no_levels) + "\n";
  fs::path path = paths_.kernel_cache / wanted.key / "latest";
  auto known = read_text(path, attempt_bytes_max);
  if (known.ok() && *known == text) return ok_status();
  return write_file_atomic(path, ByteView(text), 0644);
}

Status KernelPatches::check_attempt(const patchfmt::Patchset& patchset) const {
  auto text = read_text(paths_.kernel_attempt, attempt_bytes_max);
  if (!text.ok()) return ok_status();
  Json attempt = Json::parse(*text, nullptr, false);
  bool is_same = text_at(attempt, "patchset") == patchset.name &&
                 number_at(attempt, "level") == patchset.level &&
                 text_at(attempt, "state") == tried;
  if (!is_same || text_at(attempt, "boot") == boot_id()) return ok_status();
  return make_error(ErrorCode::refused, patchset.name,
                    "level {} was being applied when the machine went down, and is not tried again "
                    "by itself; kcarectl --update tries it again",
                    patchset.level);
}

Status KernelPatches::note_attempt(const patchfmt::Patchset& patchset,
                                   std::string_view state) const {
  Json attempt{{"patchset", patchset.name},
               {"level", patchset.level},
               {"boot", boot_id()},
               {"state", state}};
  return write_file_atomic(paths_.kernel_attempt, ByteView(to_line(attempt) + "\n"), 0644);
}

void KernelPatches::unload_leftovers(const kctl::KernelState& state,
                                     std::vector<std::string>& notes) {
  for (const kctl::LoadedPatch& patch : state.patches) {
    if (patch.is_applied || patch.is_kept) continue;
    auto unloaded = kernel_.unload_patch(patch.module);
    if (!unloaded.ok()) notes.push_back(unloaded.error().text());
  }
}

Result<KernelUpdate> KernelPatches::apply(const KernelUpdateRequest& request,
                                          const patchfmt::Patchset& patchset,
                                          const std::string& kernel) {
  KernelUpdate update;
  const patchfmt::KernelModule* module = module_for(patchset, kernel, request.type);
  LIVECARE_ASSERT(module != nullptr);  // PatchCache has looked
  TRY_STATUS(kernel_.load_kcare());
  TRY(kctl::KernelState before, kernel_.state());
  if (before.release != module->release)
    return make_error(ErrorCode::conflict, patchset.name, "is for {}, and {} runs here",
                      module->release, before.release);
  unload_leftovers(before, update.notes);
  TRY_STATUS(note_attempt(patchset, tried));
  TRY_STATUS(kernel_.load_patch(module->module, module->file));
  auto switched = kernel_.switch_to(
      {.module = module->module, .freezer = request.freezer, .force = request.force});
  if (!switched.ok()) {
    auto unloaded = kernel_.unload_patch(module->module);
    if (!unloaded.ok()) log(LogLevel::warning, "{}", unloaded.error().text());
    TRY_STATUS(note_attempt(patchset, given_up));
    return switched.take_error();
  }
  TRY_STATUS(note_attempt(patchset, held));
  if (const kctl::LoadedPatch* older = before.applied()) {
    auto unloaded = kernel_.unload_patch(older->module);
    if (!unloaded.ok()) update.notes.push_back(unloaded.error().text());
  }
  set_symlink_group(paths_.symlink_group, request.force_gid, update.notes);
  if (request.load_sysctl) load_sysctl(paths_.sysctl, update.notes);
  TRY(kctl::KernelState after, kernel_.state());
  update.outcome = KernelOutcome::applied;
  update.is_known = true;
  update.level = patchset.level;
  update.effective = after.effective;
  update.stop_ns = switched->stop_ns;
  return update;
}

Result<KernelUpdate> KernelPatches::update(const KernelUpdateRequest& request) {
  TRY(std::string kernel, kernel_id());
  TRY(Offer offer, find(request, wanted_kernel(kernel, request.type)));
  TRY(kctl::KernelState state, kernel_.state());
  KernelUpdate update;
  update.is_known = offer.is_known;
  update.effective = state.effective;
  const kctl::LoadedPatch* applied = state.applied();
  update.level = applied != nullptr ? applied->level : 0;
  if (!offer.patch) return update;
  const patchfmt::Patchset& patchset = offer.patch->patchset;
  if (applied != nullptr && applied->level >= patchset.level) {
    update.outcome = KernelOutcome::unchanged;
    if (applied->level > patchset.level)
      update.notes.push_back(
          fmt::format("level {} is applied and level {} is offered; to go back, unload first",
                      applied->level, patchset.level));
    return update;
  }
  if (request.by_itself) TRY_STATUS(check_attempt(patchset));
  return apply(request, patchset, kernel);
}

Result<std::optional<kctl::SwitchReport>> KernelPatches::unload(kctl::Freezer freezer, bool force) {
  TRY(kctl::KernelState state, kernel_.state());
  std::vector<std::string> notes;
  unload_leftovers(state, notes);
  const kctl::LoadedPatch* applied = state.applied();
  if (applied == nullptr) return std::optional<kctl::SwitchReport>();
  TRY(kctl::SwitchReport report,
      kernel_.switch_back({.module = "", .freezer = freezer, .force = force}));
  auto unloaded = kernel_.unload_patch(applied->module);
  if (!unloaded.ok()) notes.push_back(unloaded.error().text());
  for (const std::string& note : notes) log(LogLevel::warning, "{}", note);
  return std::optional(report);
}

Result<bool> KernelPatches::is_newer_available(const KernelUpdateRequest& request) {
  TRY(std::string kernel, kernel_id());
  Wanted wanted = wanted_kernel(kernel, request.type);
  TRY(PatchCache cached, cache());
  TRY(PatchSource source,
      PatchSource::create(request.server, request.prefix, paths_, std::move(cached)));
  TRY(auto latest, source.newest_level(wanted));
  TRY_STATUS(note_latest(wanted, latest));
  if (!latest)
    return make_error(ErrorCode::unsupported, kernel,
                      "the patch server has nothing for this kernel (its ID is the SHA-1 of "
                      "/proc/version)");
  TRY(kctl::KernelState state, kernel_.state());
  const kctl::LoadedPatch* applied = state.applied();
  return *latest > (applied != nullptr ? applied->level : 0);
}

Result<KernelStatus> KernelPatches::status() const {
  TRY(std::string kernel, kernel_id());
  TRY(kctl::KernelState state, kernel_.state());
  const kctl::LoadedPatch* applied = state.applied();
  auto latest = read_text(paths_.kernel_cache / kernel / "latest", attempt_bytes_max);
  std::string known = latest.ok() ? latest->substr(0, latest->find('\n')) : "";
  if (applied == nullptr)
    return known == no_levels ? KernelStatus::unsupported : KernelStatus::nothing;
  bool is_outdated = !known.empty() && known != no_levels &&
                     std::strtoul(known.c_str(), nullptr, 10) > applied->level;
  return is_outdated ? KernelStatus::outdated : KernelStatus::latest;
}

Result<std::optional<patchfmt::Patchset>> KernelPatches::applied_patchset(
    const std::string& type) const {
  TRY(kctl::KernelState state, kernel_.state());
  const kctl::LoadedPatch* applied = state.applied();
  if (applied == nullptr) return std::optional<patchfmt::Patchset>();
  TRY(std::string kernel, kernel_id());
  TRY(PatchCache cached, cache());
  // The type may have been set anew since.
  std::vector<std::string> types = {type, "default", "extra", "free"};
  for (const std::string& each : types) {
    auto patchset = cached.open(wanted_kernel(kernel, each), applied->level);
    if (patchset.ok() && patchset->name == applied->name)
      return std::optional(std::move(patchset).value());
  }
  return std::optional<patchfmt::Patchset>();
}

Result<std::vector<std::string>> KernelPatches::obstacles(const KernelUpdateRequest& request) {
  std::vector<std::string> lines;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(paths_.root / "sys/kernel/livepatch", ignored))
    lines.push_back(fmt::format("{}: a patch of another live patcher is loaded",
                                entry.path().filename().native()));
  TRY(std::string kernel, kernel_id());
  TRY(PatchCache cached, cache());
  auto patch = cached.newest(wanted_kernel(kernel, request.type), request.not_after);
  if (!patch) {
    lines.emplace_back(
        "no patch for this kernel is in the cache; kcarectl --check asks the server");
    return lines;
  }
  TRY(kctl::KernelState state, kernel_.state());
  const kctl::LoadedPatch* applied = state.applied();
  if (applied != nullptr && applied->level >= patch->patchset.level) return lines;
  const patchfmt::KernelModule* module = module_for(patch->patchset, kernel, request.type);
  TRY_STATUS(kernel_.load_kcare());
  auto staged = kernel_.load_patch(module->module, module->file);
  if (!staged.ok()) {
    lines.push_back(staged.error().text());
    return lines;
  }
  auto found = kernel_.obstacles({.module = module->module});
  TRY_STATUS(kernel_.unload_patch(module->module));
  TRY(std::string text, std::move(found));
  if (!text.empty()) lines.push_back(std::move(text));
  return lines;
}

}  // namespace livecare::agent
