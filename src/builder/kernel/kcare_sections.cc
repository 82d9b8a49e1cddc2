#include "builder/kernel/kcare_sections.h"

#include <elf.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kmod/uapi/kcare_patch.h"
#include "trust/keys.h"

namespace livecare::builder {
namespace {

// Never 0.
uint64_t fresh_id(const std::set<std::string>& reasons) {
  Bytes text;
  for (const std::string& reason : reasons) {
    text.insert(text.end(), reason.begin(), reason.end());
    text.push_back(0);
  }
  const auto digest = trust::sha256(text);
  uint64_t id = 0;
  for (size_t i = 0; i < sizeof(id); i++) id = id << 8 | digest[i];
  return std::max<uint64_t>(id, 1);
}

class SectionWriter {
 public:
  SectionWriter(ModuleImage& image, const KernelPatchHead& head) : image_(image), head_(head) {}

  Status run() {
    strings_ = object().add_section(
        {KCARE_SEC_STRINGS, SHT_PROGBITS, SHF_ALLOC, 0, 1, 0, 0, Bytes{0}, {}});
    // The objects are numbered before anything refers to them.
    for (const ReplacedFunction& function : image_.functions) number_of(function.home);
    for (const OutsideReference& reference : image_.references) number_of(reference.home);
    for (const KernelHook& hook : image_.hooks) number_of(hook.home);
    write_head();
    TRY_STATUS(write_objects());
    TRY_STATUS(write_functions());
    TRY_STATUS(write_references());
    write_hooks();
    return ok_status();
  }

 private:
  elf::Writer& object() { return image_.object; }

  uint32_t number_of(const ShippedObject* home) {
    auto found = std::find(homes_.begin(), homes_.end(), home);
    if (found == homes_.end()) found = homes_.insert(homes_.end(), home);
    return static_cast<uint32_t>(found - homes_.begin());
  }

  uint64_t add_string(const std::string& text) {
    auto [place, fresh] = string_places_.emplace(text, 0);
    if (fresh) {
      Bytes& bytes = object().section(strings_).bytes;
      place->second = bytes.size();
      bytes.insert(bytes.end(), text.c_str(), text.c_str() + text.size() + 1);
    }
    return place->second;
  }

  // A section of records, with the symbol by which kcare.ko finds it.
  uint32_t add_table(const char* section, const char* symbol, size_t bytes) {
    uint32_t number = object().add_section({section, SHT_PROGBITS, SHF_ALLOC, 0, 8, 0, 0, {}, {}});
    object().add_symbol({symbol, STB_LOCAL, STT_OBJECT, STV_DEFAULT, number, 0, bytes});
    return number;
  }

  template <class Record>
  uint64_t append(uint32_t section, const Record& record) {
    Bytes& bytes = object().section(section).bytes;
    uint64_t at = bytes.size();
    const auto* raw = reinterpret_cast<const uint8_t*>(&record);
    bytes.insert(bytes.end(), raw, raw + sizeof(record));
    return at;
  }

  void point(uint32_t section, uint64_t at, SectionPlace place) {
    object().section(section).relocations.push_back({at, R_X86_64_64,
                                                     object().section_symbol(place.section),
                                                     static_cast<int64_t>(place.offset)});
  }
  void point_to_string(uint32_t section, uint64_t at, const std::string& text) {
    point(section, at, {strings_, add_string(text)});
  }

  Result<kcare_symbol> symbol(const ShippedObject* home, const ShippedSymbol& from) {
    if (from.name.empty() || from.name.size() >= KCARE_NAME_MAX)
      return make_error(ErrorCode::unsupported, from.name, "has a name that kcare.ko cannot take");
    kcare_symbol out{};
    out.object = number_of(home);
    out.position = from.position;
    out.offset = from.offset;
    out.size = from.size;
    return out;
  }

  void write_head() {
    uint32_t section = add_table(KCARE_SEC_HEAD, KCARE_SYM_HEAD, sizeof(kcare_patch_head));
    kcare_patch_head record{};
    record.magic = KCARE_PATCH_MAGIC;
    record.version = KCARE_PATCH_VERSION;
    record.level = head_.level;
    if (!image_.given_away.empty()) record.flags |= KCARE_PATCH_STAYS;
    append(section, record);
    point_to_string(section, offsetof(kcare_patch_head, name_ptr), head_.name);
    point_to_string(section, offsetof(kcare_patch_head, release_ptr), head_.release);
    point_to_string(section, offsetof(kcare_patch_head, effective_ptr), head_.effective);
    point_to_string(section, offsetof(kcare_patch_head, cves_ptr), head_.cves);
  }

  Status write_objects() {
    uint32_t section =
        add_table(KCARE_SEC_OBJECTS, KCARE_SYM_OBJECTS, homes_.size() * sizeof(kcare_object));
    for (const ShippedObject* home : homes_) {
      kcare_object record{};
      if (home->build_id().size() > sizeof(record.build_id))
        return make_error(ErrorCode::unsupported, home->name(), "its build-ID is too long");
      std::copy(home->build_id().begin(), home->build_id().end(), record.build_id);
      auto fresh = image_.fresh.find(home->name());
      if (fresh != image_.fresh.end()) record.fresh_id = fresh_id(fresh->second);
      record.build_id_size = static_cast<uint32_t>(home->build_id().size());
      uint64_t at = append(section, record);
      point_to_string(section, at + offsetof(kcare_object, name_ptr), home->name());
    }
    return ok_status();
  }

  Status write_functions() {
    size_t parts = 0;
    for (const ReplacedFunction& function : image_.functions) parts += function.parts.size();
    uint32_t section =
        add_table(KCARE_SEC_FUNCS, KCARE_SYM_FUNCS, image_.functions.size() * sizeof(kcare_func));
    uint32_t ranges = 0, range_count = 0;
    if (parts != 0)
      ranges = add_table(KCARE_SEC_RANGES, KCARE_SYM_RANGES, parts * sizeof(kcare_range));
    for (const ReplacedFunction& function : image_.functions) {
      kcare_func record{};
      TRY(record.old, symbol(function.home, function.old));
      record.new_size = function.size;
      record.flags = function.init ? KCARE_FUNC_INIT : 0;
      record.range_first = range_count;
      record.range_count = static_cast<uint32_t>(function.parts.size());
      range_count += record.range_count;
      uint64_t at = append(section, record);
      point_to_string(section, at + offsetof(kcare_func, old.name_ptr), function.old.name);
      point(section, at + offsetof(kcare_func, new_ptr), function.place);
      for (const ShippedSymbol& part : function.parts) {
        kcare_range range{};
        TRY(range.part, symbol(function.home, part));
        uint64_t range_at = append(ranges, range);
        point_to_string(ranges, range_at + offsetof(kcare_range, part.name_ptr), part.name);
      }
    }
    return ok_status();
  }

  Status write_references() {
    if (image_.references.empty()) return ok_status();
    uint32_t section = add_table(KCARE_SEC_RELOCS, KCARE_SYM_RELOCS,
                                 image_.references.size() * sizeof(kcare_reloc));
    for (const OutsideReference& reference : image_.references) {
      kcare_reloc record{};
      TRY(record.symbol, symbol(reference.home, reference.symbol));
      record.addend = reference.addend;
      record.type = reference.type;
      bool may_come_later = !reference.home->is_vmlinux() &&
                            !is_read_at_once(object().section(reference.place.section).name);
      record.flags = may_come_later ? KCARE_RELOC_LATE : 0;
      if (reference.init) record.flags |= KCARE_RELOC_INIT;
      uint64_t at = append(section, record);
      point(section, at + offsetof(kcare_reloc, place_ptr), reference.place);
      point_to_string(section, at + offsetof(kcare_reloc, symbol.name_ptr), reference.symbol.name);
    }
    return ok_status();
  }

  void write_hooks() {
    if (image_.hooks.empty()) return;
    uint32_t section =
        add_table(KCARE_SEC_HOOKS, KCARE_SYM_HOOKS, image_.hooks.size() * sizeof(kcare_hook));
    for (const KernelHook& hook : image_.hooks) {
      kcare_hook record{};
      record.when = hook.when;
      record.object = number_of(hook.home);
      uint64_t at = append(section, record);
      point(section, at + offsetof(kcare_hook, function_ptr), hook.place);
    }
  }

  ModuleImage& image_;
  const KernelPatchHead& head_;
  uint32_t strings_ = 0;
  std::map<std::string, uint64_t> string_places_;
  std::vector<const ShippedObject*> homes_;
};

}  // namespace

Status write_kcare_sections(ModuleImage& image, const KernelPatchHead& head) {
  return SectionWriter(image, head).run();
}

void write_module_information(ModuleImage& image, const std::vector<std::string>& lines) {
  Bytes bytes;
  for (const std::string& line : lines)
    bytes.insert(bytes.end(), line.c_str(), line.c_str() + line.size() + 1);
  image.object.add_section({".modinfo", SHT_PROGBITS, SHF_ALLOC, 0, 1, 0, 0, std::move(bytes), {}});
}

}  // namespace livecare::builder
