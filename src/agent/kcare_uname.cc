#include "agent/kcare_uname.h"

#include <sys/utsname.h>

#include "agent/options.h"
#include "agent/version.h"

namespace livecare::agent {

namespace {

constexpr std::string_view usage =
    "usage: kcare-uname [OPTION]...\n"
    "Print certain system information. With no OPTION, same as -s.\n"
    "\n"
    "  -a, --all                all of it, except omit -p and -i if unknown\n"
    "  -s, --kernel-name        the kernel name\n"
    "  -n, --nodename           the network node hostname\n"
    "  -r, --kernel-release     the kernel release that the kernel is as safe as\n"
    "  -v, --kernel-version     the kernel version\n"
    "  -m, --machine            the machine hardware name\n"
    "  -p, --processor          the processor type or \"unknown\"\n"
    "  -i, --hardware-platform  the hardware platform or \"unknown\"\n"
    "  -o, --operating-system   the operating system\n"
    "      --help, --version\n";

constexpr std::string_view unknown = "unknown";

}  // namespace

UnameAnswer kcare_uname(const std::vector<std::string>& arguments, const kctl::Kernel& kernel) {
  const std::vector<Option> table = {{"all", 'a'},
                                     {"kernel-name", 's'},
                                     {"nodename", 'n'},
                                     {"kernel-release", 'r'},
                                     {"kernel-version", 'v'},
                                     {"machine", 'm'},
                                     {"processor", 'p'},
                                     {"hardware-platform", 'i'},
                                     {"operating-system", 'o'},
                                     {"help"},
                                     {"version"}};
  auto line = parse_command_line(arguments, table);
  if (!line.ok()) return {1, "", fmt::format("kcare-uname: {}\n", line.error().text())};
  if (!line->operands.empty())
    return {1, "",
            fmt::format("kcare-uname: extra operand '{}'; see kcare-uname --help\n",
                        line->operands[0])};
  if (line->has("help")) return {0, std::string(usage), ""};
  if (line->has("version")) return {0, fmt::format("kcare-uname {}\n", version()), ""};
  utsname names{};
  ::uname(&names);
  auto state = kernel.state();
  if (!state.ok()) return {1, "", fmt::format("kcare-uname: {}\n", state.error().text())};
  // In the order of uname -a.
  const std::pair<std::string_view, std::string_view> fields[] = {
      {"kernel-name", names.sysname},       {"nodename", names.nodename},
      {"kernel-release", state->effective}, {"kernel-version", names.version},
      {"machine", names.machine},           {"processor", unknown},
      {"hardware-platform", unknown},       {"operating-system", "GNU/Linux"},
  };
  std::string out;
  for (const auto& [name, value] : fields) {
    bool is_wanted = line->has(name) || (line->options.empty() && name == "kernel-name") ||
                     (line->has("all") && value != unknown);
    if (!is_wanted) continue;
    if (!out.empty()) out += ' ';
    out += value;
  }
  return {0, out + "\n", ""};
}

}  // namespace livecare::agent
