#include "builder/kernel/kernel_fix.h"

#include <algorithm>

#include "base/file_system.h"
#include "builder/include_scan.h"
#include "builder/kernel/include_graph.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr size_t names_shown_max = 6;

class Planner {
 public:
  Planner(const KernelRelease& kernel, unsigned fuzz) : kernel_(kernel), fuzz_(fuzz) {}

  Result<KernelFixPlan> run(const std::vector<fs::path>& fixes) {
    for (const fs::path& path : fixes) {
      TRY(std::string text, read_text(path, fix_bytes_max));
      TRY(FixPatch fix, parse_fix(text, path.filename()));
      plan_.fixes.push_back(std::move(fix));
    }
    for (const FixPatch& fix : plan_.fixes) TRY_STATUS(add(fix));
    TRY_STATUS(add_includers());
    if (plan_.sources.empty() && plan_.refused.empty())
      plan_.refused.push_back({"", "", "nothing of the fix is compiled into a kernel"});
    return std::move(plan_);
  }

 private:
  bool exists(const std::string& path) const {
    std::error_code ignored;
    return plan_.contents.contains(kernel_.tree() / path) ||
           fs::exists(kernel_.tree() / path, ignored);
  }

  void refuse(const std::string& name, std::string reason) {
    plan_.refused.push_back({name, "", std::move(reason)});
  }

  Status add(const FixPatch& fix) {
    auto is_there = [&](const std::string& path) { return exists(path); };
    unsigned strip = detect_strip(fix, is_there);
    for (const FilePatch& patch : fix.files) {
      TRY(std::string name, name_in_tree(fix, patch, strip, is_there));
      TRY_STATUS(add_file(fix, patch, name));
    }
    return ok_status();
  }

  Status add_file(const FixPatch& fix, const FilePatch& patch, const std::string& name) {
    KernelFileRole role = kernel_file_role(name);
    if (role == KernelFileRole::other) {
      plan_.ignored.push_back(name);
      return ok_status();
    }
    if (role == KernelFileRole::build) {
      refuse(name,
             "steers the build, so that more may change than can be seen; write the fix "
             "without it");
      return ok_status();
    }
    if (role == KernelFileRole::assembly) {
      refuse(name, "is assembly, whose functions cannot be told apart safely; change the callers");
      return ok_status();
    }
    if (patch.is_binary || patch.is_rename || patch.is_deleted() || patch.is_new()) {
      refuse(name, "is added, removed, renamed or binary; put the fix into files that are there");
      return ok_status();
    }
    if (!exists(name))
      return make_error(ErrorCode::invalid_input, fix.name,
                        "there is no {} in the source of {}; the fix is for another version", name,
                        kernel_.release);
    fs::path path = kernel_.tree() / name;
    auto known = plan_.contents.find(path);
    std::string content;
    if (known != plan_.contents.end()) {
      content = known->second;
    } else {
      TRY(content, read_text(path));
    }
    TRY(plan_.contents[path], apply_hunks(patch, content, fix.name + ": " + name, fuzz_));
    auto& list = role == KernelFileRole::source ? plan_.sources : plan_.headers;
    if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
    return ok_status();
  }

  // Whatever may include a touched header, or a touched C file, by the text of all include lines.
  Status add_includers() {
    std::set<std::string> touched;
    for (const std::string& header : plan_.headers) {
      if (header.starts_with("include/") || header.starts_with("arch/x86/include/")) {
        refuse(header,
               "is a header of the whole kernel: every object that includes it would have to be "
               "compiled and proved; make the change in the C files that need it");
        continue;
      }
      touched.insert(header);
    }
    if (!plan_.refused.empty()) return ok_status();
    if (touched.empty()) {
      for (const std::string& source : std::vector<std::string>(plan_.sources))
        add_including_sources(source);
      return ok_status();
    }
    touched.insert(plan_.sources.begin(), plan_.sources.end());
    std::vector<std::string> found;
    for (const std::string& name : IncludeGraph(kernel_.tree()).may_include(touched))
      if (kernel_file_role(name) == KernelFileRole::source) found.push_back(name);
    if (found.size() > including_objects_max) {
      std::string shown;
      for (size_t i = 0; i < names_shown_max; ++i) shown += found[i] + ", ";
      refuse(plan_.headers.front(),
             fmt::format("{} C files may include it ({}...), more than {}; make the change in the "
                         "C files that need it",
                         found.size(), shown, including_objects_max));
      return ok_status();
    }
    for (const std::string& name : found) add_includer(name);
    return ok_status();
  }

  void add_includer(const std::string& name) {
    if (std::find(plan_.sources.begin(), plan_.sources.end(), name) != plan_.sources.end()) return;
    plan_.sources.push_back(name);
    plan_.includers.insert(name);
  }

  // "#include "rt.c"" in kernel/sched/build_policy.c: of the same directory, as is the custom. A C
  // file that is included from elsewhere is not found in the shipped kernel, and so refused.
  void add_including_sources(const std::string& source) {
    fs::path path = kernel_.tree() / source;
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(path.parent_path(), failure)) {
      if (entry.path().extension() != ".c" || entry.path() == path) continue;
      auto text = read_text(entry.path());
      if (!text.ok() || text->find(path.filename().native() + "\"") == std::string::npos) continue;
      auto included = included_names(*text).names;
      if (std::find(included.begin(), included.end(), path.filename().native()) != included.end()) {
        add_includer(entry.path().lexically_relative(kernel_.tree()));
        plan_.included.insert(source);
      }
    }
  }

  const KernelRelease& kernel_;
  unsigned fuzz_;
  KernelFixPlan plan_;
};

}  // namespace

KernelFileRole kernel_file_role(std::string_view path) {
  for (std::string_view aside :
       {"Documentation/", "tools/", "samples/", "LICENSES/", "debian/", "usr/", "drivers/staging/"})
    if (path.starts_with(aside) && aside != "drivers/staging/") return KernelFileRole::other;
  // Code of other CPUs is not part of this kernel.
  if (path.starts_with("arch/") && !path.starts_with("arch/x86/")) return KernelFileRole::other;
  if (path.starts_with("arch/x86/um/")) return KernelFileRole::other;
  std::string_view file = path.substr(path.rfind('/') + 1);
  if (file == "Makefile" && path == file) return KernelFileRole::other;  // the version's number
  if (file == "Makefile" || file == "Kbuild" || file.starts_with("Kconfig") ||
      file.ends_with(".lds.S") || path.starts_with("scripts/"))
    return KernelFileRole::build;
  if (file.ends_with(".c")) return KernelFileRole::source;
  if (file.ends_with(".h")) return KernelFileRole::header;
  if (file.ends_with(".S")) return KernelFileRole::assembly;
  bool data = file.ends_with(".rst") || file.ends_with(".txt") || file.ends_with(".dts") ||
              file.ends_with(".dtsi") || file == "MAINTAINERS" || file == "CREDITS" ||
              file == ".gitignore";
  return data ? KernelFileRole::other : KernelFileRole::build;
}

Result<KernelFixPlan> plan_kernel_fixes(const KernelRelease& kernel,
                                        const std::vector<fs::path>& fixes, unsigned fuzz) {
  return Planner(kernel, fuzz).run(fixes);
}

}  // namespace livecare::builder
