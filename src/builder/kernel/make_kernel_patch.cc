#include "builder/kernel/make_kernel_patch.h"

#include <algorithm>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/cache_entry.h"
#include "builder/cumulative.h"
#include "builder/describe.h"
#include "builder/kernel/compile.h"
#include "builder/kernel/kcare_sections.h"
#include "builder/kernel/kernel_fix.h"
#include "builder/kernel/kernel_id.h"
#include "builder/kernel/make_module.h"
#include "builder/publish.h"
#include "builder/tree_edit.h"
#include "builder/type_layout.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

struct ComparedObject {
  const KernelObject* object = nullptr;
  std::unique_ptr<elf::Image> original, patched;
  objdiff::Diff diff;
};

class Maker {
 public:
  Maker(const KernelRelease& kernel, const KernelPatchOptions& options)
      : kernel_(kernel), options_(options) {}

  Result<KernelPatchResult> make() {
    TRY(plan_, plan_kernel_fixes(kernel_, options_.fixes, options_.fuzz));
    result_.ignored = plan_.ignored;
    result_.refused = plan_.refused;
    for (auto step : {&Maker::compile, &Maker::compare, &Maker::prove_and_extract, &Maker::describe,
                      &Maker::write}) {
      if (!result_.refused.empty()) return std::move(result_);
      TRY_STATUS((this->*step)());
    }
    return std::move(result_);
  }

 private:
  void refuse(std::string_view where, const objdiff::Refusal& refusal) {
    std::string text = where.empty() ? refusal.reason : std::string(where) + ": " + refusal.reason;
    result_.refused.push_back({refusal.function, refusal.section, text});
  }

  Status compile() {
    Stopwatch watch;
    for (const std::string& source : plan_.sources) {
      objects_.push_back({source, "", {}, {}});
      objects_.back().optional =
          plan_.includers.contains(source) || plan_.included.contains(source);
    }
    log(LogLevel::info, "compiling {} objects with and without the fix", objects_.size());
    auto originals = compile_kernel_originals(kernel_, objects_, options_.jobs);
    if (!originals.ok()) {
      if (originals.error().code != ErrorCode::refused) return originals.take_error();
      refuse("", {originals.error().object, "", originals.error().message});
      return ok_status();
    }
    result_.seconds["compile_original"] = watch.seconds();
    TRY_STATUS(keep_shipped());
    if (!result_.refused.empty()) return ok_status();
    Stopwatch patched_watch;
    TRY(work_, TemporaryDirectory::make("livecare-kernel"));
    TRY(TreeEdit edit, TreeEdit::begin(kernel_.entry, plan_.contents));
    auto status = compile_kernel_patched(kernel_, objects_, work_->path(), options_.jobs);
    TRY_STATUS(edit.restore());
    if (!status.ok()) {
      if (status.error().code != ErrorCode::refused) return status.take_error();
      refuse("", {status.error().object, "", status.error().message});
    }
    result_.seconds["compile_patched"] = patched_watch.seconds();
    return ok_status();
  }

  // Leaves out what is not part of the kernel; refuses if that is what the fix is for.
  Status keep_shipped() {
    std::vector<KernelObject> kept;
    std::vector<objdiff::Refusal> missing;
    for (KernelObject& object : objects_) {
      std::string name = object.module.empty() ? std::string(vmlinux_name) : object.module;
      TRY(const ShippedObject* home, open_shipped(name));
      bool shipped = home->may_have_source(fs::path(object.source).filename().native());
      if (shipped && object.absent) {
        missing.push_back({object.source, "", "is compiled into the shipped kernel, but not here"});
      } else if (shipped) {
        kept.push_back(std::move(object));
      } else if (object.optional) {
        result_.ignored.push_back(object.source + " (no object of this kernel)");
      } else {
        missing.push_back({object.source, "",
                           fmt::format("is not compiled into the shipped {}; if no other file "
                                       "includes it, this kernel does not need the fix",
                                       name)});
      }
    }
    objects_ = std::move(kept);
    for (const objdiff::Refusal& refusal : missing) refuse("", refusal);
    if (objects_.empty() && result_.refused.empty())
      refuse("", {"", "", "nothing of the fix is compiled into the shipped kernel"});
    return ok_status();
  }

  Status compare() {
    Stopwatch watch;
    objdiff::Options options;
    options.kernel = true;
    for (const std::string& name : options_.keep_data)
      options.data_policies[name] = objdiff::DataPolicy::keep_live_value;
    for (const KernelObject& object : objects_) {
      options.built_in = object.module.empty();
      ComparedObject compared;
      compared.object = &object;
      TRY(elf::Image original, elf::Image::open(object.original));
      TRY(elf::Image patched, elf::Image::open(object.patched));
      compared.original = std::make_unique<elf::Image>(std::move(original));
      compared.patched = std::make_unique<elf::Image>(std::move(patched));
      TRY(compared.diff, objdiff::diff(*compared.original, *compared.patched, options));
      for (const objdiff::Refusal& refusal : compared.diff.refused) refuse(object.source, refusal);
      if (!compared.diff.anything_changed()) continue;
      TRY_STATUS(check_layouts(compared));
      compared_.push_back(std::move(compared));
    }
    if (compared_.empty() && result_.refused.empty())
      refuse("", {"", "",
                  "the fix changes no function or data: what it changes compiles to the "
                  "same code"});
    result_.seconds["diff"] = watch.seconds();
    return ok_status();
  }

  Status check_layouts(const ComparedObject& compared) {
    TRY(std::vector<LayoutChange> changes, layout_changes(*compared.original, *compared.patched));
    std::set<std::string> reviewed = reviewed_layouts(*compared.patched);
    for (const LayoutChange& change : changes) {
      if (reviewed.contains(change.type)) continue;
      // Where no object is alive that the old code made, the layout is nobody's but the new code's.
      if (!compared.object->module.empty())
        result_.fresh[compared.object->module].insert(change.type + " " + change.what);
      else
        refuse(compared.object->source,
               {change.type, "",
                fmt::format("{} {}, and objects of it that are alive have the old layout; leave "
                            "the type as it is and put what is new into shadow data",
                            change.type, change.what)});
    }
    return ok_status();
  }

  // Of a module by its name; opened once.
  Result<const ShippedObject*> open_shipped(const std::string& name) {
    if (auto known = shipped_.find(name); known != shipped_.end()) return known->second.get();
    fs::path file = kernel_.vmlinux();
    if (name != vmlinux_name) {
      file.clear();
      std::error_code failure;
      for (const auto& entry : fs::recursive_directory_iterator(kernel_.modules(), failure))
        if (entry.path().extension() == ".ko" && module_name(entry.path().native()) == name)
          file = entry.path();
      if (file.empty())
        return make_error(ErrorCode::refused, name, "is no module that {} ships", kernel_.release);
    }
    TRY(auto opened, ShippedObject::open(name, file));
    const ShippedObject* out = opened.get();
    shipped_[name] = std::move(opened);
    return out;
  }

  Status prove_and_extract() {
    Stopwatch watch;
    TRY(ExportedSymbols exported, ExportedSymbols::read(kernel_.exported_symbols()));
    exported_ = std::make_unique<ExportedSymbols>(std::move(exported));
    TRY(const ShippedObject* vmlinux, open_shipped(std::string(vmlinux_name)));
    kernel_id_source_ = vmlinux;
    ExtractInput input;
    input.exported = exported_.get();
    input.vmlinux = vmlinux;
    input.fresh = result_.fresh;
    input.open_module = [this](const std::string& name) { return open_shipped(name); };
    for (ComparedObject& compared : compared_) {
      const KernelObject& object = *compared.object;
      TRY(const ShippedObject* home,
          open_shipped(object.module.empty() ? std::string(vmlinux_name) : object.module));
      KernelUnit unit{object.source,
                      home,
                      compared.original.get(),
                      compared.patched.get(),
                      std::move(compared.diff),
                      {}};
      TRY(unit.map, home->matcher().match_object(*compared.original, object.source));
      input.units.push_back(std::move(unit));
    }
    if (!result_.refused.empty()) return ok_status();
    TRY(ModuleImage image, extract(input));
    for (const objdiff::Refusal& refusal : image.refused) refuse("", refusal);
    for (const ReplacedFunction& function : image.functions)
      result_.functions.push_back({function.old.name, function.home->name(), function.proof,
                                   function.old.size, function.size});
    result_.references = image.references.size();
    result_.fresh = image.fresh;
    image_ = std::make_unique<ModuleImage>(std::move(image));
    result_.seconds["prove"] = watch.seconds();
    return ok_status();
  }

  Status describe() {
    patchfmt::Patchset& patchset = result_.metadata;
    TRY(result_.kernel_id, kernel_id(kernel_id_source_->image()));
    TRY(patchset.name, next_patchset_name(options_.out, utc("%Y%m%d"), 'K'));
    patchset.product = patchfmt::kernel_product;
    patchset.distribution = kernel_.release;
    return describe_patchset(
        {options_.cves, options_.cvss, options_.description, options_.level, options_.out,
         latest_level(options_.out, result_.kernel_id), "linux " + kernel_.version},
        plan_.fixes, patchset);
  }

  std::string cves() const {
    std::string out;
    for (const patchfmt::Fix& fix : result_.metadata.fixes)
      for (const std::string& cve : fix.cves) out += (out.empty() ? "" : " ") + cve;
    return out;
  }

  Status write() {
    Stopwatch watch;
    patchfmt::Patchset& patchset = result_.metadata;
    std::string effective = options_.effective.empty() ? kernel_.release : options_.effective;
    TRY_STATUS(write_kcare_sections(
        *image_, {patchset.level, patchset.name, kernel_.release, effective, cves()}));
    write_module_information(*image_, {"license=GPL", "author=livecare-build",
                                       "description=" + patchset.name + " for " + kernel_.release});
    fs::path maker_key = options_.key.empty() ? default_key() : options_.key;
    TRY(trust::PrivateKey key, load_maker_key(options_.key));
    TRY(ModuleKey module_key, load_module_key(maker_key));
    std::string name = "kpatch_" + patchset.name;
    fs::path work = work_->path() / "module";
    fs::create_directories(work);
    TRY(fs::path module, make_module(kernel_, name, image_->object.write(), work));
    TRY_STATUS(check_module(module, *exported_, kernel_.release));
    TRY_STATUS(sign_module(kernel_, module_key, module));
    result_.seconds["module"] = watch.seconds();
    TRY(Bytes file, read_file(module));
    patchset.modules = {
        {result_.kernel_id, kernel_.release, effective, options_.type, name, std::move(file)}};
    TRY_STATUS(check_cumulative(options_.out, patchset));
    TRY(Bytes certificate, read_file(module_key.certificate));
    TRY_STATUS(write_file_atomic(options_.out / "module.der", certificate));
    TRY(Published published, publish(options_.out, patchset, key));
    result_.file = published.file;
    result_.file_bytes = published.bytes;
    return ok_status();
  }

  const KernelRelease& kernel_;
  const KernelPatchOptions& options_;
  KernelFixPlan plan_;
  std::vector<KernelObject> objects_;
  std::optional<TemporaryDirectory> work_;
  std::vector<ComparedObject> compared_;
  std::map<std::string, std::unique_ptr<ShippedObject>> shipped_;
  std::unique_ptr<ExportedSymbols> exported_;
  const ShippedObject* kernel_id_source_ = nullptr;
  std::unique_ptr<ModuleImage> image_;
  KernelPatchResult result_;
};

}  // namespace

Result<KernelPatchResult> make_kernel_patch(const KernelRelease& kernel,
                                            const KernelPatchOptions& options) {
  return Maker(kernel, options).make();
}

}  // namespace livecare::builder
