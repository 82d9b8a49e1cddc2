#include "agent/kernel_commands.h"

#include <strings.h>

#include <cstdio>

#include "agent/config_keys.h"
#include "agent/json.h"
#include "agent/lock.h"
#include "agent/sticky.h"
#include "base/log.h"
#include "patchfmt/codec.h"

namespace livecare::agent {

namespace {

constexpr std::string_view safe = "Kernel is safe";
constexpr std::string_view unsafe = "KernelCare protection disabled. Your kernel might not be safe";

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

Result<Config> KernelCommands::load_config() const {
  TRY(Config config, Config::load(paths_.configuration, today()));
  for (const std::string& warning : config.warnings()) log(LogLevel::warning, "{}", warning);
  return config;
}

// --freezer, else PATCH_METHOD.
Result<kctl::Freezer> KernelCommands::freezer(const Config& config) const {
  std::string given = line_.value("freezer");
  if (!line_.has("freezer")) {
    std::string method = config.get("PATCH_METHOD");
    given = same(method, "nofreeze") ? "none" : same(method, "smart") ? "smart" : "full";
  }
  if (given == "none") return kctl::Freezer::none;
  if (given == "full") return kctl::Freezer::full;
  if (given == "smart") return kctl::Freezer::smart;
  return bad_usage(given, "is none of none, full, smart");
}

Result<KernelUpdateRequest> KernelCommands::request(const Config& config) const {
  KernelUpdateRequest request;
  request.server = config.get("PATCH_SERVER");
  TRY(request.prefix, chosen_prefix(line_, config));
  TRY(request.not_after, sticky_day(config));
  request.type = config.get("PATCH_TYPE");
  TRY(request.freezer, freezer(config));
  request.force = line_.has("force");
  request.force_gid = config.get("FORCE_GID");
  request.load_sysctl = config.flag("LOAD_KCARE_SYSCTL");
  return request;
}

KcarectlExit KernelCommands::set_patch_type() {
  std::string type = line_.value("set-patch-type");
  auto lock = Lock::take(paths_.lock);
  if (!lock.ok()) return complain(lock.error());
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  if (auto set = config->set("PATCH_TYPE", type, today()); !set.ok()) return complain(set.error());
  auto saved = config->save(paths_.configuration);
  return saved.ok() ? KcarectlExit::done : complain(saved.error());
}

KcarectlExit KernelCommands::report(const KernelUpdate& update) const {
  for (const std::string& note : update.notes) log(LogLevel::warning, "{}", note);
  if (update.outcome == KernelOutcome::no_patch && update.level == 0)
    fmt::print("No patches are available for this kernel yet\n");
  if (update.outcome == KernelOutcome::applied)
    fmt::print("Every CPU was held for {} ns\n", update.stop_ns);
  if (update.level != 0)
    fmt::print("Patch level {} applied. Effective kernel version {}\n", update.level,
               update.effective);
  if (update.outcome != KernelOutcome::no_patch) fmt::print("{}\n", safe);
  return KcarectlExit::done;
}

KcarectlExit KernelCommands::run_update(const Config& config, PatchesFrom from, bool by_itself) {
  auto wanted = request(config);
  if (!wanted.ok()) return complain(wanted.error());
  wanted->from = from;
  wanted->by_itself = by_itself;
  auto lock = Lock::take(paths_.lock);
  if (!lock.ok()) return complain(lock.error());
  auto update = patches_.update(*wanted);
  if (!update.ok()) return complain_of_server(update.error());
  if (update->is_known || from == PatchesFrom::cache) return report(*update);
  if (by_itself && config.flag("IGNORE_UNKNOWN_KERNEL")) return KcarectlExit::done;
  auto text = kernel_.version_text();
  return complain(make_error(ErrorCode::not_found, "Unknown kernel",
                             "{}: the patch server has no patches for it",
                             text.ok() ? first_line(*text) : update->effective));
}

KcarectlExit KernelCommands::update() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  return run_update(*config, PatchesFrom::server, false);
}

KcarectlExit KernelCommands::smart_update() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  std::string policy = config->get("UPDATE_POLICY");
  PatchesFrom from = same(policy, "LOCAL")         ? PatchesFrom::cache
                     : same(policy, "LOCAL_FIRST") ? PatchesFrom::cache_first
                                                   : PatchesFrom::server;
  return run_update(*config, from, true);
}

KcarectlExit KernelCommands::auto_update() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  if (!config->flag("AUTO_UPDATE")) {
    fmt::print("Automatic updates are switched off (AUTO_UPDATE)\n");
    return KcarectlExit::done;
  }
  return run_update(*config, PatchesFrom::server, true);
}

KcarectlExit KernelCommands::unload() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  auto method = freezer(*config);
  if (!method.ok()) return complain(method.error());
  auto lock = Lock::take(paths_.lock);
  if (!lock.ok()) return complain(lock.error());
  auto report = patches_.unload(*method, line_.has("force"));
  if (!report.ok()) return complain(report.error());
  if (*report) fmt::print("Every CPU was held for {} ns\n", (*report)->stop_ns);
  fmt::print("{}\n", unsafe);
  return KcarectlExit::done;
}

KcarectlExit KernelCommands::info() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  auto state = kernel_.state();
  if (!state.ok()) return complain(state.error());
  auto version = kernel_.version_text();
  if (!version.ok()) return complain(version.error());
  const kctl::LoadedPatch* applied = state->applied();
  std::string time = "N/A", description = "N/A";
  auto patchset = patches_.applied_patchset(config->get("PATCH_TYPE"));
  if (patchset.ok() && *patchset) {
    time = (*patchset)->time;
    description = (*patchset)->description;
  }
  if (wants_json()) {
    Json json{{"state", applied != nullptr ? "applied" : "none"},
              {"level", applied != nullptr ? applied->level : 0},
              {"patchset", applied != nullptr ? applied->name : ""},
              {"kernel", first_line(*version)},
              {"release", state->release},
              {"effective", state->effective},
              {"cves", state->cves},
              {"functions", applied != nullptr ? applied->functions : std::vector<std::string>()},
              {"kcare", state->kcare_version}};
    fmt::print("{}\n", to_line(json));
    return KcarectlExit::done;
  }
  fmt::print("kpatch-state: {}\nkpatch-for: {}\n",
             applied != nullptr ? "patch is applied" : "no patch is applied", first_line(*version));
  if (applied != nullptr)
    fmt::print("kpatch-build-time: {}\nkpatch-description: {}-;{}{}{}\n", time, applied->level,
               state->effective, description.empty() || description == "N/A" ? "" : ";",
               description == "N/A" ? "" : description);
  return KcarectlExit::done;
}

KcarectlExit KernelCommands::patch_info() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  auto state = kernel_.state();
  if (!state.ok()) return complain(state.error());
  if (state->applied() == nullptr) {
    fmt::print("{}", wants_json() ? "{\"fixes\":[]}\n" : "No patches are applied\n");
    return KcarectlExit::done;
  }
  auto patchset = patches_.applied_patchset(config->get("PATCH_TYPE"));
  if (!patchset.ok()) return complain(patchset.error());
  if (!*patchset)
    return complain(make_error(ErrorCode::not_found, state->applied()->name,
                               "is applied, but its description is not in {}; kcarectl --update "
                               "fetches it again",
                               paths_.kernel_cache.native()));
  if (!wants_json()) {
    fmt::print("{}", patchfmt::kpatch_info(**patchset));
    return KcarectlExit::done;
  }
  Json fixes = Json::array();
  for (const patchfmt::Fix& fix : (*patchset)->fixes)
    fixes.push_back({{"name", fix.name},
                     {"description", fix.description},
                     {"kernel", fix.package},
                     {"cves", fix.cves},
                     {"cvss", fix.cvss},
                     {"cve_url", fix.cve_url},
                     {"patch_url", fix.patch_url}});
  fmt::print("{}\n", to_line({{"patchset", (*patchset)->name},
                              {"level", (*patchset)->level},
                              {"time", (*patchset)->time},
                              {"fixes", fixes}}));
  return KcarectlExit::done;
}

KcarectlExit KernelCommands::uname() {
  auto state = kernel_.state();
  if (!state.ok()) return complain(state.error());
  if (wants_json())
    fmt::print("{}\n", to_line({{"release", state->release}, {"effective", state->effective}}));
  else
    fmt::print("{}\n", state->effective);
  return KcarectlExit::done;
}

KcarectlExit KernelCommands::check() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  auto wanted = request(*config);
  if (!wanted.ok()) return complain(wanted.error());
  auto newer = patches_.is_newer_available(*wanted);
  if (!newer.ok()) {
    KcarectlExit code = complain_of_server(newer.error());
    // A kernel that the server does not know has no newer patchset; it is not a missing part.
    return newer.error().code == ErrorCode::unsupported ? KcarectlExit::failed : code;
  }
  fmt::print("{}\n", *newer ? "An update is available" : "No update is available");
  return *newer ? KcarectlExit::done : KcarectlExit::failed;
}

KcarectlExit KernelCommands::status() {
  auto status = patches_.status();
  if (!status.ok()) return complain(status.error());
  static constexpr std::string_view words[] = {"The latest patch is applied", "No patch is applied",
                                               "A newer patch is available",
                                               "The patch server does not know this kernel"};
  auto code = static_cast<size_t>(*status);
  if (wants_json())
    fmt::print("{}\n", to_line({{"status", code}, {"text", words[code]}}));
  else
    fmt::print("{}\n", words[code]);
  return static_cast<KcarectlExit>(code);
}

KcarectlExit KernelCommands::preflight() {
  auto config = load_config();
  if (!config.ok()) return complain(config.error());
  auto wanted = request(*config);
  if (!wanted.ok()) return complain(wanted.error());
  auto lock = Lock::take(paths_.lock);
  if (!lock.ok()) return complain(lock.error());
  auto lines = patches_.obstacles(*wanted);
  if (!lines.ok()) return complain(lines.error());
  if (wants_json()) fmt::print("{}\n", to_line({{"obstacles", *lines}}));
  if (lines->empty() && !wants_json()) fmt::print("Nothing stands in the way of an update\n");
  return wants_json() && lines->empty() ? KcarectlExit::done : complain(*lines);
}

}  // namespace livecare::agent
