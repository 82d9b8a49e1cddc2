#include "builder/make_patch.h"

#include <algorithm>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/affected.h"
#include "builder/cache_entry.h"
#include "builder/cumulative.h"
#include "builder/describe.h"
#include "builder/fix_plan.h"
#include "builder/link.h"
#include "builder/linked_in.h"
#include "builder/publish.h"
#include "builder/recompile.h"
#include "builder/tree_edit.h"
#include "builder/type_layout.h"
#include "elf/image.h"
#include "match/matcher.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

// "debian12" of /etc/os-release.
std::string distribution() {
  auto text = read_text("/etc/os-release");
  if (!text.ok()) return {};
  auto value = [&](std::string_view name) {
    std::string padded = "\n" + *text;
    size_t at = padded.find("\n" + std::string(name) + "=");
    if (at == std::string::npos) return std::string();
    at += name.size() + 2;
    std::string found = padded.substr(at, padded.find('\n', at) - at);
    std::erase(found, '"');
    return found;
  };
  return value("ID") + value("VERSION_ID");
}

// A unit compiled both ways, compared.
struct ComparedUnit {
  const AffectedUnit* affected = nullptr;
  std::optional<elf::Image> original;
  std::optional<elf::Image> patched;
  objdiff::Diff diff;
};

objdiff::Options diff_options(const PatchOptions& options) {
  objdiff::Options result;
  for (const std::string& name : options.keep_data)
    result.data_policies[name] = objdiff::DataPolicy::keep_live_value;
  return result;
}

// Adds a refusal for every type that changed code would see in two layouts.
Status check_layouts(ComparedUnit& unit) {
  TRY(std::vector<LayoutChange> changes, layout_changes(*unit.original, *unit.patched));
  std::set<std::string> reviewed = reviewed_layouts(*unit.patched);
  for (const LayoutChange& change : changes)
    if (!reviewed.contains(change.type))
      unit.diff.refused.push_back(
          {change.type, "",
           fmt::format(
               "{} {}, and objects of it that are alive have the old layout; leave the type "
               "as it is and put what is new into shadow data, or state with "
               "LIVECARE_LAYOUT_OK(\"{}\") that none can be alive",
               change.type, change.what, change.type)});
  return ok_status();
}

Result<ComparedUnit> compare_unit(const AffectedUnit& affected, const CompiledUnit& compiled,
                                  const PatchOptions& options) {
  ComparedUnit unit;
  unit.affected = &affected;
  TRY(unit.patched, elf::Image::open(compiled.patched));
  if (compiled.original.empty()) return unit;
  TRY(unit.original, elf::Image::open(compiled.original));
  TRY(unit.diff, objdiff::diff(*unit.original, *unit.patched, diff_options(options)));
  if (unit.diff.anything_changed()) TRY_STATUS(check_layouts(unit));
  return unit;
}

class Maker {
 public:
  Maker(const PreparedTree& tree, const PatchOptions& options) : tree_(tree), options_(options) {}

  Result<PatchResult> make() {
    TRY(plan_, plan_fixes(tree_, options_.fixes, options_.fuzz));
    TRY_STATUS(find());
    if (!result_.refused.empty()) return std::move(result_);
    TRY_STATUS(compile());
    if (!result_.refused.empty()) return std::move(result_);
    TRY_STATUS(link_targets());
    if (result_.refused.empty() && result_.patchset.objects.empty())
      refuse("", "", "",
             "the fix changes no function or data of any shipped file: what it changes "
             "compiles to the same code");
    if (!result_.refused.empty()) return std::move(result_);
    TRY_STATUS(describe());
    TRY_STATUS(write());
    return std::move(result_);
  }

 private:
  void refuse(std::string_view where, std::string_view function, std::string_view section,
              std::string_view reason) {
    std::string text =
        where.empty() ? std::string(reason) : std::string(where) + ": " + std::string(reason);
    result_.refused.push_back({std::string(function), std::string(section), text});
  }

  Status find() {
    Stopwatch watch;
    TRY(affected_, find_affected(tree_, plan_, options_.jobs));
    result_.ignored = affected_.ignored;
    result_.refused = affected_.refused;
    result_.seconds["find"] = watch.seconds();
    for (const std::string& name : affected_.ignored) log(LogLevel::info, "ignored: {}", name);
    if (affected_.units.empty() && result_.refused.empty())
      refuse("", "", "", "nothing of the fix is compiled into a shipped program or library");
    return ok_status();
  }

  Status compile() {
    Stopwatch watch;
    log(LogLevel::info, "compiling {} units with and without the fix", affected_.units.size());
    TRY(TemporaryDirectory objects, TemporaryDirectory::make("livecare-objects"));
    RecompileOptions options{options_.jobs, options_.headers};
    TRY(auto compiled, compile_originals(tree_, affected_.units, options));
    result_.seconds["compile_original"] = watch.seconds();
    Stopwatch patched_watch;
    {
      TRY(TreeEdit edit, TreeEdit::begin(tree_.entry, plan_.contents));
      auto status = compile_patched(tree_, affected_.units, objects.path(), options, compiled);
      TRY_STATUS(edit.restore());
      if (!status.ok()) {
        if (status.error().code != ErrorCode::refused) return status.take_error();
        refuse(status.error().object, "", "", status.error().message);
        return ok_status();
      }
    }
    result_.seconds["compile_patched"] = patched_watch.seconds();
    Stopwatch diff_watch;
    for (size_t i = 0; i < compiled.size(); ++i) {
      TRY(ComparedUnit unit, compare_unit(affected_.units[i], compiled[i], options_));
      units_.push_back(std::move(unit));
    }
    result_.seconds["diff"] = diff_watch.seconds();
    return ok_status();
  }

  Status link_targets() {
    Stopwatch watch;
    for (size_t i = 0; i < tree_.targets.size(); ++i) TRY_STATUS(link_target(i));
    result_.seconds["match_and_link"] = watch.seconds();
    return ok_status();
  }

  // The compared units of a target that change something.
  std::vector<Unit> units_of(size_t target, const elf::Image& rebuilt) {
    std::vector<Unit> found;
    for (const ComparedUnit& unit : units_) {
      const AffectedUnit& affected = *unit.affected;
      for (size_t k = 0; k < affected.targets.size(); ++k) {
        if (affected.targets[k] != target) continue;
        if (unit.original && !unit.diff.anything_changed() && unit.diff.refused.empty()) continue;
        if (!affected.certain[k] && unit.original) {
          LinkedIn held = linked_in(*unit.original, rebuilt);
          if (!held.is) continue;
          if (!held.doubt.empty())
            doubts_.push_back(
                fmt::format("it cannot be told for sure whether it holds {} ({}), so it was taken "
                            "as if it did",
                            affected.name, held.doubt));
        }
        for (const objdiff::Refusal& refusal : unit.diff.refused)
          refuse(tree_.targets[target].name + ": " + affected.name, refusal.function,
                 refusal.section, refusal.reason);
        if (unit.original && !unit.diff.anything_changed()) continue;
        found.push_back(
            {affected.name, unit.original ? &*unit.original : nullptr, &*unit.patched, unit.diff});
      }
    }
    return found;
  }

  bool has_units(size_t target) const {
    for (const ComparedUnit& unit : units_) {
      const auto& targets = unit.affected->targets;
      if (std::find(targets.begin(), targets.end(), target) != targets.end()) return true;
    }
    return false;
  }

  Status link_target(size_t index) {
    if (!has_units(index)) return ok_status();
    const PreparedTarget& target = tree_.targets[index];
    TRY(elf::Image rebuilt, elf::Image::open(target.rebuilt));
    size_t refused_before = result_.refused.size();
    doubts_.clear();
    std::vector<Unit> units = units_of(index, rebuilt);
    TRY_STATUS(link_units(target, rebuilt, std::move(units), refused_before));
    if (result_.refused.size() != refused_before)
      for (const std::string& doubt : doubts_) refuse(target.name, "", "", doubt);
    return ok_status();
  }

  Status link_units(const PreparedTarget& target, const elf::Image& rebuilt,
                    std::vector<Unit> units, size_t refused_before) {
    if (units.empty() || result_.refused.size() != refused_before) return ok_status();
    if (target.build_id.empty()) {
      refuse(target.name, "", "",
             "has no build-ID, by which running copies are found; link it with "
             "-Wl,--build-id");
      return ok_status();
    }
    TRY(elf::Image shipped, elf::Image::open(target.shipped));
    TRY(match::Matcher matcher, match::Matcher::create(shipped, &rebuilt));
    log(LogLevel::info, "{} ({}): {} changed units; {}", target.name, target.build_id, units.size(),
        matcher.why());
    LinkInput input{&shipped, &rebuilt, &matcher, std::move(units), target.package};
    TRY(LinkOutput output, link(input));
    for (const objdiff::Refusal& refusal : output.refused)
      refuse(target.name, refusal.function, refusal.section, refusal.reason);
    if (output.object.soname.empty()) output.object.soname = target.name;
    if (output.refused.empty()) result_.patchset.objects.push_back(std::move(output.object));
    return ok_status();
  }

  Status describe() {
    patchfmt::Patchset& patchset = result_.patchset;
    TRY(patchset.name, next_patchset_name(options_.out, utc("%Y%m%d")));
    uint32_t published = 0;
    for (const patchfmt::Object& object : patchset.objects)
      published = std::max(published, latest_level(options_.out, object.build_id));
    patchset.distribution = distribution();
    TRY_STATUS(describe_patchset({options_.cves, options_.cvss, options_.description,
                                  options_.level, options_.out, published, tree_.source_package},
                                 plan_.fixes, patchset));
    return check_cumulative(options_.out, patchset);
  }

  Status write() {
    TRY(trust::PrivateKey key, load_maker_key(options_.key));
    TRY(Published published, publish(options_.out, result_.patchset, key));
    result_.file = published.file;
    result_.file_bytes = published.bytes;
    return ok_status();
  }

  const PreparedTree& tree_;
  const PatchOptions& options_;
  FixPlan plan_;
  Affected affected_;
  std::vector<ComparedUnit> units_;
  std::vector<std::string> doubts_;  // of the target at hand: see linked_in.h
  PatchResult result_;
};

}  // namespace

Status check_inputs(const PatchOptions& options) {
  if (options.fixes.empty())
    return make_error(ErrorCode::invalid_input, "--fix", "at least one fix is needed");
  for (const fs::path& path : options.fixes) {
    auto fix = load_fix(path);
    if (!fix.ok()) return fix.take_error();
  }
  TRY_STATUS(check_output_directory(options.out));
  auto key = load_maker_key(options.key);
  if (!key.ok()) return key.take_error();
  return ok_status();
}

Result<PatchResult> make_patch(const PreparedTree& tree, const PatchOptions& options) {
  return Maker(tree, options).make();
}

}  // namespace livecare::builder
