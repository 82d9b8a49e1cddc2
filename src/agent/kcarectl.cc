#include "agent/kcarectl.h"

#include <cstdio>
#include <memory>
#include <variant>

#include "agent/config.h"
#include "agent/config_keys.h"
#include "agent/exit.h"
#include "agent/kernel_commands.h"
#include "agent/lock.h"
#include "agent/options.h"
#include "agent/server_client.h"
#include "agent/sticky.h"
#include "agent/userspace.h"
#include "agent/version.h"
#include "base/log.h"
#include "trust/keys.h"

namespace livecare::agent {

namespace {

constexpr std::string_view usage =
    "usage: kcarectl COMMAND... [options]\n"
    "\n"
    "  -u, --update                       fetch the newest patches of the kernel and apply them\n"
    "  --smart-update, --auto-update      the same as UPDATE_POLICY and AUTO_UPDATE say\n"
    "  --unload                           run the shipped kernel again\n"
    "  -i, --info; --patch-info           what is applied to the kernel\n"
    "  --uname                            the kernel version that it is as safe as\n"
    "  --check                            exit code 0: there is a newer patchset; 1: there is "
    "none\n"
    "  --status                           exit code 0: latest applied, 1: nothing, 2: a newer one "
    "is\n"
    "                                     there, 3: this kernel is not supported\n"
    "  --preflight                        what would block an update of the kernel now\n"
    "  --set-patch-type extra|free|default\n"
    "  --userspace-update [libs,qemu,db]  fetch the newest patches and apply them to processes\n"
    "  --lib-update                       the same for shared libraries\n"
    "  --lib-info                         which processes are patched\n"
    "  --lib-patch-info                   which patches are in memory\n"
    "  --lib-unload                       unpatch all patched processes\n"
    "  --import-key PATH                  trust patches of this maker (an Ed25519 public key)\n"
    "  --set-sticky-patch DDMMYY|''       stay with patches of that day or before; '' ends it\n"
    "  --version, --help\n"
    "\n"
    "  --json         with every command that tells something\n"
    "  --freezer none|full|smart  whom to freeze while the kernel is switched\n"
    "  --force        go on when something cannot be frozen; never skips the check of the stacks\n"
    "  --prefix P     take patches from this part of the patch server (--test: --prefix test)\n"
    "  --root DIR     every file of the agent is looked for below DIR\n"
    "  --server FILE  the libcare-server to run\n"
    "\n"
    "Exit code: 0 done, 1 a process or patch failed, 2 usage or configuration, 3 patch server not\n"
    "reachable, 4 untrusted patch or key, 5 not in this build, 6 another run holds the lock.\n";

constexpr size_t key_digits_in_name = 8;
constexpr std::string_view register_part = "registration and licences";
constexpr std::string_view report_part = "reports to the support";
constexpr std::string_view cve_part = "the vulnerability data";

struct Missing {
  Option option;
  std::string_view part;
};

// Options of the field whose part of the product is not in this build.
constexpr Missing missing[] = {
    {{"license-info", 0, Takes::nothing}, register_part},
    {{"register", 0, Takes::value}, register_part},
    {{"register-autoretry", 0, Takes::nothing}, register_part},
    {{"unregister", 0, Takes::nothing}, register_part},
    {{"set-monitoring-key", 0, Takes::value}, register_part},
    {{"tag", 0, Takes::value}, register_part},
    {{"doctor", 0, Takes::nothing}, report_part},
    {{"covers", 0, Takes::value}, cve_part},
};

std::vector<Option> option_table() {
  std::vector<Option> table = {
      {"info", 'i'},
      {"update", 'u'},
      {"smart-update"},
      {"auto-update"},
      {"unload"},
      {"patch-info"},
      {"uname"},
      {"check"},
      {"status"},
      {"preflight"},
      {"set-patch-type", 0, Takes::value},
      {"freezer", 0, Takes::value},
      {"force"},
      {"userspace-update", 0, Takes::maybe_value},
      {"lib-update"},
      {"lib-info"},
      {"lib-patch-info"},
      {"lib-unload"},
      {"import-key", 0, Takes::value},
      {"set-sticky-patch", 0, Takes::value},
      {"version"},
      {"help", 'h', Takes::nothing},
      {"json"},
      {"prefix", 0, Takes::value},
      {"test"},
      {"root", 0, Takes::value},
      {"server", 0, Takes::value},
  };
  for (const Missing& each : missing) table.push_back(each.option);
  return table;
}

// libs, qemu, db of the command line and configuration, as Patchset::product names them.
Result<std::vector<std::string>> products_of(const std::vector<std::string>& types) {
  std::vector<std::string> products;
  for (const std::string& type : types) {
    if (type != "libs" && type != "qemu" && type != "db")
      return bad_usage(type, "is none of libs, qemu, db");
    products.push_back(type == "libs" ? "user" : type);
  }
  return products;
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> items;
  while (!list.empty()) {
    size_t comma = list.find(',');
    items.emplace_back(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return items;
}

class Kcarectl {
 public:
  explicit Kcarectl(const CommandLine& line)
      : line_(line),
        paths_(line.has("root") ? line.value("root") : "/"),
        kernel_(kctl::open_kernel()),
        kernel_commands_(line_, paths_, *kernel_) {}

  // Settings first, then changes, then queries; the first failure ends the run.
  KcarectlExit run() {
    using Step = KcarectlExit (Kcarectl::*)();
    using KernelStep = KcarectlExit (KernelCommands::*)();
    static constexpr std::pair<std::string_view, std::variant<Step, KernelStep>> steps[] = {
        {"import-key", &Kcarectl::import_key},
        {"set-sticky-patch", &Kcarectl::set_sticky},
        {"set-patch-type", &KernelCommands::set_patch_type},
        {"unload", &KernelCommands::unload},
        {"update", &KernelCommands::update},
        {"smart-update", &KernelCommands::smart_update},
        {"auto-update", &KernelCommands::auto_update},
        {"lib-unload", &Kcarectl::unload},
        {"userspace-update", &Kcarectl::update},
        {"lib-update", &Kcarectl::update},
        {"info", &KernelCommands::info},
        {"patch-info", &KernelCommands::patch_info},
        {"uname", &KernelCommands::uname},
        {"preflight", &KernelCommands::preflight},
        {"lib-info", &Kcarectl::info},
        {"lib-patch-info", &Kcarectl::patch_info},
        {"check", &KernelCommands::check},
        {"status", &KernelCommands::status},
    };
    if (!line_.operands.empty())
      return complain(bad_usage(line_.operands[0], "is not expected here"));
    bool did_something = false;
    for (const auto& [name, step] : steps) {
      if (!line_.has(name)) continue;
      did_something = true;
      KcarectlExit code = std::holds_alternative<Step>(step)
                              ? (this->*std::get<Step>(step))()
                              : (kernel_commands_.*std::get<KernelStep>(step))();
      if (code != KcarectlExit::done) return code;
    }
    return did_something ? KcarectlExit::done : complain(bad_usage("", "say what to do"));
  }

 private:
  KcarectlExit import_key() {
    std::filesystem::path path = line_.value("import-key");
    auto key = trust::load_public_key(path);
    if (!key.ok()) return complain(key.error());
    auto lock = Lock::take(paths_.lock);
    if (!lock.ok()) return complain(lock.error());
    auto ring = trust::load_ring(paths_.keys);
    if (!ring.ok()) return complain(ring.error());
    auto id = key->id();
    std::string digits = to_hex(ByteView(id.data(), id.size()));
    // Makers choose their file names without knowing each other (maker.pub): a second one of a name
    // gets a part of its ID.
    std::string name = key->name;
    for (const trust::PublicKey& known : *ring) {
      if (known.raw == key->raw) {
        fmt::print("Key {} ({}) is trusted already\n", known.name, digits);
        return KcarectlExit::done;
      }
      if (known.name == key->name) name = key->name + "-" + digits.substr(0, key_digits_in_name);
    }
    auto saved = trust::save_public_key(paths_.keys / (name + ".pub"), *key);
    if (!saved.ok()) return complain(saved.error());
    fmt::print("Key {} ({}) imported\n", name, digits);
    return KcarectlExit::done;
  }

  Result<Config> load_config() const {
    TRY(Config config, Config::load(paths_.configuration, today()));
    for (const std::string& warning : config.warnings()) log(LogLevel::warning, "{}", warning);
    return config;
  }

  KcarectlExit set_sticky() {
    std::string value = line_.value("set-sticky-patch");
    if (value == "KEY") return complain(not_in_this_build("--set-sticky-patch KEY", register_part));
    auto day = parse_day(value);
    if (!value.empty() &&
        (!day || *day >= today() || today().number - day->number > sticky_days_max))
      return complain(bad_usage(value,
                                "is not a day before today and at most 60 days back, as "
                                "DDMMYY, DDMMYYYY or YYYY-MM-DD"));
    auto lock = Lock::take(paths_.lock);
    if (!lock.ok()) return complain(lock.error());
    auto config = load_config();
    if (!config.ok()) return complain(config.error());
    if (auto set = config->set("STICKY_PATCH", value, today()); !set.ok())
      return complain(set.error());
    auto saved = config->save(paths_.configuration);
    return saved.ok() ? KcarectlExit::done : complain(saved.error());
  }

  Result<UpdateRequest> update_request(const Config& config) const {
    UpdateRequest request;
    request.server = config.get("PATCH_SERVER");
    TRY(request.prefix, chosen_prefix(line_, config));
    std::vector<std::string> types = config.list("USERSPACE_PATCHES");
    if (line_.has("lib-update")) types = {"libs"};
    if (std::string given = line_.value("userspace-update"); !given.empty()) types = split(given);
    TRY(request.products, products_of(types));
    TRY(request.not_after, sticky_day(config));
    return request;
  }

  KcarectlExit update() {
    if (std::exchange(updated_, true)) return KcarectlExit::done;
    auto config = load_config();
    if (!config.ok()) return complain(config.error());
    auto request = update_request(*config);
    if (!request.ok()) return complain(request.error());
    auto lock = Lock::take(paths_.lock);
    if (!lock.ok()) return complain(lock.error());
    auto tool = userspace();
    if (!tool.ok()) return complain(tool.error());
    auto summary = tool->update(*request);
    if (!summary.ok()) return complain_of_server(summary.error());
    KcarectlExit code = complain(summary->failures);
    bool is_trust = summary->first_error && summary->first_error->code == ErrorCode::untrusted;
    return is_trust ? KcarectlExit::untrusted : code;
  }

  KcarectlExit unload() {
    auto lock = Lock::take(paths_.lock);
    if (!lock.ok()) return complain(lock.error());
    auto tool = userspace();
    if (!tool.ok()) return complain(tool.error());
    auto failures = tool->unload();
    return failures.ok() ? complain(*failures) : complain(failures.error());
  }

  KcarectlExit info() {
    auto tool = userspace();
    if (!tool.ok()) return complain(tool.error());
    auto processes = tool->patched_processes();
    if (!processes.ok()) return complain(processes.error());
    std::vector<std::string> failures;
    Json list = Json::array();
    for (Json& process : *processes) {
      if (text_at(process, "outcome") == "failed")
        failures.push_back(fmt::format("{} {}: {}", number_at(process, "pid"),
                                       text_at(process, "comm"), text_at(process, "reason")));
      else if (Json entry = describe(process); !entry["libs"].empty())
        list.push_back(std::move(entry));
    }
    if (line_.has("json"))
      fmt::print("{}\n", to_line({{"processes", list}}));
    else
      print_info(list);
    return complain(failures);
  }

  static Json describe(const Json& process) {
    Json entry{{"pid", number_at(process, "pid")}, {"comm", text_at(process, "comm")}};
    entry["libs"] = Json::array();
    for (const Json& object : list_at(process, "objects")) {
      // Undone, only its memory is not free yet: not a patch any more.
      if (text_at(object, "state") == "kept") continue;
      entry["libs"].push_back({{"soname", text_at(object, "soname")},
                               {"build_id", text_at(object, "build_id")},
                               {"patchset", text_at(object, "patchset")},
                               {"level", number_at(object, "level")},
                               {"state", text_at(object, "state")},
                               {"cves", texts_at(object, "cves")}});
    }
    return entry;
  }

  static void print_info(const Json& list) {
    if (list.empty()) fmt::print("No userspace processes are patched\n");
    for (const Json& process : list) {
      fmt::print("pid: {}\ncomm: {}\n", number_at(process, "pid"), text_at(process, "comm"));
      for (const Json& object : list_at(process, "libs")) {
        std::string cves;
        for (const std::string& cve : texts_at(object, "cves"))
          cves += (cves.empty() ? " (" : ", ") + cve;
        fmt::print("libs: {} {} level {} {}{}{}\n", text_at(object, "soname"),
                   text_at(object, "patchset"), number_at(object, "level"),
                   text_at(object, "state"), cves, cves.empty() ? "" : ")");
      }
      fmt::print("\n");
    }
  }

  KcarectlExit patch_info() {
    auto tool = userspace();
    if (!tool.ok()) return complain(tool.error());
    auto patches = tool->patches_in_memory();
    if (!patches.ok()) return complain(patches.error());
    if (line_.has("json")) {
      fmt::print("{}\n", to_line({{"patches", *patches}}));
      return KcarectlExit::done;
    }
    if (patches->empty()) fmt::print("No userspace patches are in memory\n");
    std::string before;
    for (const Json& patch : *patches) {
      std::string text = info_text(patch);
      if (text != before) fmt::print("{}{}", before.empty() ? "" : "\n", text);
      before = text;
    }
    return KcarectlExit::done;
  }

  // Where neither memory nor cache holds the maker's text, what the process itself knows.
  static std::string info_text(const Json& patch) {
    if (std::string info = text_at(patch, "info"); !info.empty()) return info;
    std::string cves;
    for (const std::string& cve : texts_at(patch, "cves")) cves += (cves.empty() ? "" : ", ") + cve;
    return fmt::format(
        "OS: N/A\nkernel: {}\ntime: N/A\nuname: {}\n\nkpatch-name: {} level {}\n"
        "kpatch-description: N/A\nkpatch-kernel: N/A\nkpatch-cve: {}\nkpatch-cvss: N/A\n"
        "kpatch-cve-url: N/A\nkpatch-patch-url: N/A\n",
        text_at(patch, "soname"), text_at(patch, "patchset"), text_at(patch, "patchset"),
        number_at(patch, "level"), cves.empty() ? "N/A" : cves);
  }

  Result<Userspace> userspace() const {
    TRY(auto server, find_server(paths_, line_.value("server")));
    return Userspace(paths_, server);
  }

 public:
  static std::optional<Error> first_missing(const CommandLine& line) {
    for (const Missing& each : missing)
      if (line.has(each.option.name))
        return not_in_this_build("--" + std::string(each.option.name), each.part);
    return std::nullopt;
  }

 private:
  const CommandLine& line_;
  Paths paths_;
  std::unique_ptr<kctl::Kernel> kernel_;
  KernelCommands kernel_commands_;
  bool updated_ = false;
};

}  // namespace

int run_kcarectl(const std::vector<std::string>& arguments) {
  auto line = parse_command_line(arguments, option_table());
  if (!line.ok()) return static_cast<int>(complain(line.error()));
  if (line->has("help")) {
    fmt::print("{}", usage);
    return 0;
  }
  if (line->has("version")) {
    fmt::print("{}\n", version());
    return 0;
  }
  if (auto error = Kcarectl::first_missing(*line)) return static_cast<int>(complain(*error));
  return static_cast<int>(Kcarectl(*line).run());
}

}  // namespace livecare::agent
