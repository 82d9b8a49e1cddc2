#include "builder/prepare_parts.h"

#include <elf.h>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/cache_entry.h"
#include "builder/pairing.h"
#include "builder/prepare.h"
#include "elf/image.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {
constexpr size_t quoted_bytes_max = 2000;
}

fs::path cache_directory(const PrepareOptions& options) {
  std::error_code failure;
  fs::path cache = options.cache.empty() ? default_cache() : options.cache;
  fs::path absolute = fs::absolute(cache, failure).lexically_normal();
  return failure ? cache : absolute;
}

void choose_path(PreparedTree& tree, const std::string& wanted) {
  std::error_code failure;
  fs::create_directories(tree.root, failure);
  fs::create_directories(tree.entry / "space", failure);
  tree.root_seen = wanted;
  if (tree.space().works()) return;
  tree.root_seen = tree.root.native();
  log(LogLevel::info, "{}: no private mount namespace here; building in {} instead", wanted,
      tree.root.native());
}

Result<int> run_recorded(const BuildSpace& space, const fs::path& entry, const fs::path& recorder,
                         std::vector<std::string> arguments,
                         std::map<std::string, std::string> environment, bool clear_environment,
                         std::function<bool()> keep_going) {
  Command command;
  command.keep_going = std::move(keep_going);
  command.arguments = std::move(arguments);
  command.environment = std::move(environment);
  std::string preload = recorder.native();
  if (const char* before = clear_environment ? nullptr : std::getenv("LD_PRELOAD"))
    preload += std::string(":") + before;
  command.environment["LD_PRELOAD"] = preload;
  command.environment["LIVECARE_RECORD"] = (entry / "record").native();
  // A cache in front of the compiler would hide calls or hand them to other machines.
  command.environment["CCACHE_DISABLE"] = "1";
  command.environment["DISTCC_HOSTS"] = "localhost";
  command.output_file = entry / "build.log";
  TRY(CommandResult result, space.run(std::move(command), clear_environment));
  return result.exit_code;
}

Status pair_targets(PreparedTree& tree, const std::vector<Shipped>& shipped) {
  std::vector<Fingerprint> candidates;
  std::vector<const LinkedFile*> files;
  for (const LinkedFile& linked : tree.graph.linked()) {
    fs::path path = tree.on_disk(linked.path);
    uint16_t type = 0;
    if (!is_elf64(path, &type) || (type != ET_DYN && type != ET_EXEC)) continue;
    auto image = elf::Image::open(path);
    if (!image.ok()) continue;
    candidates.push_back(fingerprint_of(*image, path));
    files.push_back(&linked);
  }
  tree.targets.clear();
  tree.unpaired.clear();
  for (const Shipped& file : shipped) {
    auto image = elf::Image::open(file.path);
    if (!image.ok()) {
      tree.unpaired.push_back(image.error().text());
      continue;
    }
    Fingerprint print = fingerprint_of(*image, file.path);
    auto pair = find_pair(print, candidates);
    if (!pair) {
      tree.unpaired.push_back(print.public_name());
      continue;
    }
    const LinkedFile& linked = *files[pair->candidate];
    tree.targets.push_back({file.path, tree.on_disk(linked.path), linked.path, print.public_name(),
                            file.package, print.build_id, pair->likeness.text()});
  }
  return ok_status();
}

std::string quote_log(const fs::path& log_file) {
  auto text = read_text(log_file, read_file_bytes_max);
  if (!text.ok()) return {};
  size_t error = text->rfind("rror:");
  size_t begin = text->size() > quoted_bytes_max ? text->size() - quoted_bytes_max : 0;
  if (error != std::string::npos && error > begin) begin = text->rfind('\n', error) + 1;
  return text->substr(begin);
}

}  // namespace livecare::builder
