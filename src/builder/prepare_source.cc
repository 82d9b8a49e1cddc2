// Any source tree, built with the user's own command in a copy of it.
//
// The copy is keyed by content, path and command, so an edited tree is built anew and the same one
// is not. It is built under the path of the original where a private mount namespace allows it (see
// build_space.h). A tree that was built before would make its build tool compile nothing: then what
// the earlier build left (objects, archives, linked files) is removed from the copy and the command
// runs again.
#include <algorithm>
#include <set>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/cache_entry.h"
#include "builder/pairing.h"
#include "builder/prepare.h"
#include "builder/prepare_parts.h"
#include "builder/tree_edit.h"
#include "trust/keys.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t digested_file_bytes_max = uint64_t{1} << 30;

// A digest of every path, mode bit and content below a directory; version control is left out.
Result<std::string> tree_digest(const fs::path& directory) {
  std::vector<std::string> lines;
  std::error_code failure;
  fs::recursive_directory_iterator end;
  for (fs::recursive_directory_iterator at(directory, failure); !failure && at != end;
       at.increment(failure)) {
    std::error_code ignored;
    std::string relative = at->path().lexically_relative(directory).native();
    if (at->path().filename() == ".git") {
      at.disable_recursion_pending();
    } else if (at->is_symlink(ignored)) {
      lines.push_back(relative + " -> " + fs::read_symlink(at->path(), ignored).native());
    } else if (at->is_regular_file(ignored)) {
      TRY(Bytes bytes, read_file(at->path(), digested_file_bytes_max));
      lines.push_back(relative + " " + trust::sha256_hex(bytes));
    }
  }
  if (failure)
    return make_error(ErrorCode::io, directory.native(), "cannot read it: {}", failure.message());
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return trust::sha256_hex(ByteView(all));
}

bool is_build_product(const fs::path& path) {
  std::string ending = path.extension();
  if (ending == ".lo" || ending == ".la" || ending == ".gch" || ending == ".pch") return true;
  if (is_elf64(path)) return true;
  return ending == ".a";
}

uint64_t remove_build_products(const fs::path& tree) {
  std::vector<fs::path> found;
  std::error_code failure;
  fs::recursive_directory_iterator end;
  for (fs::recursive_directory_iterator at(tree, failure); !failure && at != end;
       at.increment(failure)) {
    std::error_code ignored;
    if (!at->is_symlink(ignored) && at->is_regular_file(ignored) && is_build_product(at->path()))
      found.push_back(at->path());
  }
  for (const fs::path& path : found) fs::remove(path, failure);
  return found.size();
}

class SourcePreparation {
 public:
  SourcePreparation(const SourceBuild& build, fs::path source, fs::path entry, Workspace& workspace)
      : build_(build),
        source_(std::move(source)),
        entry_(std::move(entry)),
        workspace_(workspace) {}

  Status run(const fs::path& recorder) {
    PreparedTree& tree = workspace_.tree;
    tree.entry = entry_;
    tree.root = entry_ / "tree";
    tree.source_package = source_.filename();
    choose_path(tree, source_.native());
    TRY_STATUS(copy());
    Stopwatch watch;
    log(LogLevel::info, "{}: building a copy once (log: {})", source_.native(),
        (entry_ / "build.log").native());
    {
      Heartbeat heartbeat("building " + source_.native());
      TRY_STATUS(build(recorder));
    }
    workspace_.seconds["build"] = watch.seconds();
    return ok_status();
  }

 private:
  Status copy() {
    Stopwatch watch;
    std::error_code failure;
    fs::create_directories(workspace_.tree.root, failure);
    auto copied = run_checked({.arguments = {"cp", "-a", "--reflink=auto", source_.native() + "/.",
                                             workspace_.tree.root.native()}});
    if (!copied.ok()) return copied.take_error();
    workspace_.seconds["copy"] = watch.seconds();
    return ok_status();
  }

  Status build(const fs::path& recorder) {
    PreparedTree& tree = workspace_.tree;
    BuildSpace space = tree.space();
    for (bool again : {false, true}) {
      if (again && remove_build_products(tree.root) == 0) break;
      std::error_code ignored;
      fs::remove(entry_ / "record", ignored);
      TRY(int exit_code,
          run_recorded(space, entry_, recorder, {"sh", "-c", build_.command}, {}, false));
      if (exit_code != 0)
        return make_error(ErrorCode::io, build_.command,
                          "the build command failed with exit code {}; see {}; it ends with:\n{}",
                          exit_code, (entry_ / "build.log").native(),
                          quote_log(entry_ / "build.log"));
      bool recorded = replay_record(tree).ok() && !tree.graph.linked().empty();
      if (recorded) return ok_status();
      if (!again)
        log(LogLevel::info,
            "{}: the command linked nothing (built before?); removing built files "
            "from the copy and running it again",
            source_.native());
    }
    return make_error(ErrorCode::invalid_input, build_.command,
                      "the build command ran no compiler that links anything; give one that builds "
                      "everything from a clean tree");
  }

  const SourceBuild& build_;
  fs::path source_;
  fs::path entry_;
  Workspace& workspace_;
};

// Before the build, so that a typing error costs a second.
Status check_targets(const SourceBuild& build) {
  for (const fs::path& target : build.targets) {
    std::error_code failure;
    if (!fs::is_regular_file(target, failure))
      return make_error(ErrorCode::not_found, target.native(),
                        "is no file; --target names the shipped program or library");
    if (!is_elf64(target))
      return make_error(ErrorCode::unsupported, target.native(),
                        "is no 64-bit ELF file; --target names the shipped program or library");
  }
  return ok_status();
}

// Copies of the shipped files, so that they stay what they are while the user goes on building.
Result<std::vector<Shipped>> keep_targets(const SourceBuild& build, const fs::path& entry) {
  std::vector<Shipped> shipped;
  std::error_code failure;
  fs::remove_all(entry / "shipped", failure);
  for (size_t i = 0; i < build.targets.size(); ++i) {
    const fs::path& target = build.targets[i];
    TRY(Bytes bytes, read_file(target));
    fs::path copy =
        entry / "shipped" / std::to_string(i) / fs::canonical(target, failure).filename();
    TRY_STATUS(write_file_atomic(copy, bytes, 0755));
    shipped.push_back({copy, ""});
  }
  return shipped;
}

Status require_all_paired(const PreparedTree& tree) {
  if (tree.unpaired.empty()) return ok_status();
  std::string linked;
  for (const LinkedFile& file : tree.graph.linked())
    linked += "\n  " + tree.on_disk(file.path).native();
  return make_error(
      ErrorCode::invalid_input, tree.unpaired[0],
      "the build command makes no file of this name (soname or file name); it linked:{}", linked);
}

}  // namespace

Result<Workspace> prepare_source(const SourceBuild& build, const PrepareOptions& options) {
  fs::path cache = cache_directory(options);
  std::error_code failure;
  fs::path source = fs::canonical(build.source, failure);
  if (failure || !fs::is_directory(source, failure))
    return make_error(ErrorCode::not_found, build.source.native(), "is no directory with sources");
  if (fs::weakly_canonical(cache, failure).native().starts_with(source.native() + "/"))
    return make_error(ErrorCode::invalid_input, cache.native(),
                      "the cache lies inside the source tree; give another --cache");
  TRY_STATUS(check_targets(build));
  TRY(fs::path tools, install_tools(cache));
  Stopwatch watch;
  TRY(std::string digest, tree_digest(source));
  std::string key = trust::sha256_hex(ByteView(source.native() + std::string(1, '\0') +
                                               build.command + std::string(1, '\0') + digest));
  fs::path entry = cache / "trees" / (source.filename().native() + "_" + key.substr(0, 16));
  Workspace workspace;
  TRY(workspace.lock, lock_entry(entry));
  workspace.seconds["digest"] = watch.seconds();
  auto prepared = load_prepared(entry);
  if (prepared.ok()) {
    workspace.tree = std::move(prepared).value();
    workspace.was_cached = true;
    TRY_STATUS(restore_tree(entry));
  } else {
    TRY_STATUS(clear_entry(entry));
    SourcePreparation preparation(build, source, entry, workspace);
    TRY_STATUS(preparation.run(tools / "recorder.so"));
  }
  TRY(std::vector<Shipped> shipped, keep_targets(build, entry));
  TRY_STATUS(pair_targets(workspace.tree, shipped));
  TRY_STATUS(require_all_paired(workspace.tree));
  TRY_STATUS(save_prepared(workspace.tree));
  return workspace;
}

}  // namespace livecare::builder
