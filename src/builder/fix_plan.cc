#include "builder/fix_plan.h"

#include <algorithm>
#include <set>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/affected.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr int mirror_depth_max = 3;
constexpr size_t mirror_names_min = 4;

std::set<std::string> names_in(const fs::path& directory) {
  std::set<std::string> names;
  std::error_code failure;
  fs::directory_iterator end;
  for (fs::directory_iterator at(directory, failure); !failure && at != end; at.increment(failure))
    names.insert(at->path().filename());
  return names;
}

bool is_below(const fs::path& path, const fs::path& root) {
  return path.native().starts_with(root.native() + "/");
}

class Planner {
 public:
  Planner(const PreparedTree& tree, unsigned fuzz)
      : tree_(tree), fuzz_(fuzz), mirrors_(find_mirrors(tree.root)) {}

  Status add(const FixPatch& fix, FixPlan& plan) {
    auto is_there = [&](const std::string& path) { return exists(tree_.root / path, plan); };
    unsigned strip = detect_strip(fix, is_there);
    for (const FilePatch& patch : fix.files) {
      TRY(std::string name, name_in_tree(fix, patch, strip, is_there));
      TRY_STATUS(add_file(fix, patch, name, plan));
    }
    return ok_status();
  }

 private:
  static bool exists(const fs::path& path, const FixPlan& plan) {
    std::error_code ignored;
    return plan.contents.contains(path) || fs::exists(path, ignored);
  }

  TouchedFile& touched(const std::string& name, FixPlan& plan) {
    for (TouchedFile& file : plan.touched)
      if (file.name == name) return file;
    plan.touched.push_back({name, {}, {}, false, false});
    return plan.touched.back();
  }

  Status add_file(const FixPatch& fix, const FilePatch& patch, const std::string& name,
                  FixPlan& plan) {
    TouchedFile& file = touched(name, plan);
    file.patches.push_back(&patch);
    if (patch.is_rename) {
      // Nothing is compiled from it: it is noted as ignored.
      if (is_aside(name) || role_of(name) == FileRole::other) return ok_status();
      return make_error(ErrorCode::refused, name,
                        "{} renames or copies it; write the fix without that (git diff "
                        "--no-renames)",
                        fix.name);
    }
    if (patch.is_binary) {
      file.is_binary = true;
      return ok_status();
    }
    if (patch.is_new()) {
      file.is_new = true;
      return create(fix, patch, name, file, plan);
    }
    if (!exists(tree_.root / name, plan))
      return make_error(ErrorCode::invalid_input, fix.name,
                        "there is no {} in {}; the fix is for another version or another tree",
                        name, tree_.source_package);
    for (const fs::path& path : copies_of(name, plan))
      TRY_STATUS(change(fix, patch, path, file, plan));
    return ok_status();
  }

  Status create(const FixPatch& fix, const FilePatch& patch, const std::string& name,
                TouchedFile& file, FixPlan& plan) {
    if (exists(tree_.root / name, plan))
      return make_error(ErrorCode::invalid_input, fix.name,
                        "creates {}, which is there already; this version may have the fix", name);
    TRY(std::string content, apply_hunks(patch, "", fix.name + ": " + name));
    std::vector<fs::path> roots = {tree_.root};
    roots.insert(roots.end(), mirrors_.begin(), mirrors_.end());
    for (const fs::path& root : roots) {
      plan.contents[root / name] = content;
      file.copies.push_back(root / name);
    }
    return ok_status();
  }

  Status change(const FixPatch& fix, const FilePatch& patch, const fs::path& path,
                TouchedFile& file, FixPlan& plan) {
    auto known = plan.contents.find(path);
    std::string content;
    if (known != plan.contents.end()) {
      content = known->second;
    } else {
      TRY(content, read_text(path, read_file_bytes_max));
    }
    std::string label = fix.name + ": " + path.lexically_relative(tree_.root).native();
    // A file that the fix deletes stays as an empty one: nothing may include it any more.
    TRY(std::string changed, apply_hunks(patch, content, label, fuzz_));
    plan.contents[path] = std::move(changed);
    if (std::find(file.copies.begin(), file.copies.end(), path) == file.copies.end())
      file.copies.push_back(path);
    return ok_status();
  }

  // The file itself, its mirrors, and other files of its name with the same content.
  std::vector<fs::path> copies_of(const std::string& name, const FixPlan& plan) {
    for (const TouchedFile& file : plan.touched)
      if (file.name == name && !file.copies.empty()) return file.copies;
    std::set<fs::path> found;
    auto add = [&](const fs::path& path) {
      std::error_code failure;
      fs::path real = fs::canonical(path, failure);
      if (!failure && is_below(real, tree_.root)) found.insert(real);
    };
    add(tree_.root / name);
    for (const fs::path& mirror : mirrors_) add(mirror / name);
    auto original = read_text(tree_.root / name, read_file_bytes_max);
    for (const fs::path& path : same_file_name(fs::path(name).filename())) {
      auto other = read_text(path, read_file_bytes_max);
      if (original.ok() && other.ok() && *original == *other && !original->empty()) add(path);
    }
    return {found.begin(), found.end()};
  }

  const std::vector<fs::path>& same_file_name(const std::string& file_name) {
    if (files_.empty()) {
      std::error_code failure;
      fs::recursive_directory_iterator end;
      for (fs::recursive_directory_iterator at(tree_.root, failure); !failure && at != end;
           at.increment(failure)) {
        std::error_code ignored;
        if (at->is_regular_file(ignored) && !at->is_symlink(ignored) &&
            language_matters(at->path()))
          files_[at->path().filename()].push_back(at->path());
      }
    }
    return files_[file_name];
  }

  static bool language_matters(const fs::path& path) {
    std::string ending = path.extension();
    return language_of(path.native()) != Language::other || ending.starts_with(".h") ||
           ending == ".inc" || ending == ".def" || ending == ".tcc";
  }

  const PreparedTree& tree_;
  unsigned fuzz_;
  std::vector<fs::path> mirrors_;
  std::map<std::string, std::vector<fs::path>> files_;
};

void search_mirrors(const fs::path& directory, const std::set<std::string>& wanted, int depth,
                    std::vector<fs::path>& found) {
  for (const std::string& name : names_in(directory)) {
    fs::path path = directory / name;
    std::error_code ignored;
    if (fs::is_symlink(path, ignored) || !fs::is_directory(path, ignored) || name == ".git")
      continue;
    std::set<std::string> names = names_in(path);
    size_t common = 0;
    for (const std::string& other : wanted) common += names.contains(other) ? 1 : 0;
    if (common >= mirror_names_min && common * 4 >= wanted.size() * 3)
      found.push_back(path);
    else if (depth < mirror_depth_max)
      search_mirrors(path, wanted, depth + 1, found);
  }
}

}  // namespace

std::vector<fs::path> find_mirrors(const fs::path& root) {
  std::set<std::string> wanted;
  std::error_code ignored;
  for (const std::string& name : names_in(root))
    if (name != "debian" && name != ".pc" && name != ".git") wanted.insert(name);
  std::vector<fs::path> found;
  if (wanted.size() >= mirror_names_min) search_mirrors(root, wanted, 1, found);
  return found;
}

Result<FixPatch> load_fix(const fs::path& path) {
  TRY(std::string text, read_text(path, fix_bytes_max));
  return parse_fix(text, path.filename());
}

Result<FixPlan> plan_fixes(const PreparedTree& tree, const std::vector<fs::path>& fixes,
                           unsigned fuzz) {
  FixPlan plan;
  // All at once: TouchedFile points into them.
  for (const fs::path& path : fixes) {
    TRY(FixPatch fix, load_fix(path));
    plan.fixes.push_back(std::move(fix));
  }
  Planner planner(tree, fuzz);
  for (const FixPatch& fix : plan.fixes) TRY_STATUS(planner.add(fix, plan));
  return plan;
}

}  // namespace livecare::builder
