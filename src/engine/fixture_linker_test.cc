#include <elf.h>

#include <algorithm>

#include "elf/image.h"
#include "engine/fixture_test.h"

namespace livecare::engine::testing {
namespace {

using patchfmt::RelocationKind;
using patchfmt::SymbolKind;

// Where a section of the object file ended up.
struct Placed {
  Bytes* part = nullptr;
  uint64_t part_base = 0;
  uint64_t offset = 0;  // in the part
  uint64_t image_offset() const { return part_base + offset; }
};

class Linker {
 public:
  Linker(const elf::Image& object, const elf::Image& target) : object_(object), target_(target) {}

  patchfmt::Object link(const std::vector<std::string>& replaced) {
    out_.build_id = target_.build_id();
    out_.soname = target_.soname().empty() ? target_.name() : target_.soname();
    place_sections();
    for (const elf::Section& section : object_.sections())
      if (placed_.contains(section.index)) relocate_section(section);
    close_parts();
    for (const std::string& name : replaced) add_function(name);
    for (const elf::Symbol& symbol : object_.symbols()) {
      add_hook_or_kept(symbol);
      if (symbol.type == STT_FUNC && placed_.contains(symbol.section))
        out_.image_symbols.push_back({std::string(symbol.name),
                                      placed_[symbol.section].image_offset() + symbol.value,
                                      symbol.size});
    }
    return std::move(out_);
  }

 private:
  static constexpr uint64_t rodata_base = 0x10000, data_base = 0x20000;

  void place(const elf::Section& section, Bytes& part, uint64_t base, uint64_t& size) {
    size = (size + 63) & ~uint64_t{63};
    placed_[section.index] = {&part, base, size};
    part.resize(size);
    part.insert(part.end(), section.bytes.begin(), section.bytes.end());
    size += section.size;
    part.resize(size);
  }

  void place_sections() {
    for (const elf::Section& section : object_.sections()) {
      if ((section.flags & SHF_ALLOC) == 0 || section.size == 0 || section.type == SHT_NOTE)
        continue;
      if ((section.flags & SHF_TLS) != 0) {
        uint64_t at = (out_.new_tls_size + section.alignment - 1) & ~(section.alignment - 1);
        out_.new_tls_bytes.resize(at);
        out_.new_tls_bytes.insert(out_.new_tls_bytes.end(), section.bytes.begin(),
                                  section.bytes.end());
        out_.new_tls_size = at + section.size;
        out_.new_tls_bytes.resize(out_.new_tls_size);
        out_.new_tls_align = std::max(out_.new_tls_align, section.alignment);
        tls_[section.index] = at;
      } else if ((section.flags & SHF_EXECINSTR) != 0) {
        place(section, out_.text.bytes, 0, text_size_);
      } else if ((section.flags & SHF_WRITE) != 0) {
        place(section, out_.data.bytes, data_base, data_size_);
      } else if (section.name == ".eh_frame") {
        eh_frame_ = &section;
      } else {
        place(section, out_.rodata.bytes, rodata_base, rodata_size_);
      }
    }
    if (eh_frame_ != nullptr) {
      place(*eh_frame_, out_.rodata.bytes, rodata_base, rodata_size_);
      out_.eh_frame_offset = placed_[eh_frame_->index].image_offset();
      append_le(out_.rodata.bytes, uint32_t{0});
      rodata_size_ += 4;
      out_.eh_frame_size = eh_frame_->size + 4;
    }
  }

  void close_parts() {
    out_.text.offset = 0;
    out_.text.size = out_.text.bytes.size();
    out_.rodata = {rodata_base, out_.rodata.bytes.size(), out_.rodata.bytes};
    out_.data = {data_base, out_.data.bytes.size(), out_.data.bytes};
    out_.image_size = data_base + ((out_.data.size + 4095) & ~uint64_t{4095});
    if (out_.data.size == 0) out_.data.offset = 0;
    if (out_.rodata.size == 0) out_.rodata.offset = 0;
  }

  uint32_t patch_symbol(const elf::Symbol& symbol) {
    auto known = symbols_.find(symbol.index);
    if (known != symbols_.end()) return known->second;
    patchfmt::Symbol made;
    made.name = symbol.name;
    made.weak = symbol.bind == STB_WEAK;
    if (tls_.contains(symbol.section)) {
      made.kind = SymbolKind::new_tls;
      made.value = tls_.at(symbol.section) + symbol.value;
    } else if (!symbol.is_undefined()) {
      made.kind = SymbolKind::image;
      made.value = placed_.at(symbol.section).image_offset() + symbol.value;
    } else if (const elf::Symbol* of_target = find_in_target(symbol.name)) {
      made.kind = of_target->type == STT_TLS         ? SymbolKind::target_tls
                  : of_target->type == STT_GNU_IFUNC ? SymbolKind::target_ifunc
                                                     : SymbolKind::target;
      made.value = of_target->value;
    } else {
      made.kind = SymbolKind::import;
      for (const elf::Symbol& dynamic : target_.dynamic_symbols())
        if (dynamic.name == symbol.name) made.version = dynamic.version;
    }
    out_.symbols.push_back(made);
    auto index = static_cast<uint32_t>(out_.symbols.size() - 1);
    symbols_[symbol.index] = index;
    return index;
  }

  const elf::Symbol* find_in_target(std::string_view name) const {
    for (const elf::Symbol& symbol : target_.symbols())
      if (symbol.name == name && !symbol.is_undefined()) return &symbol;
    return nullptr;
  }

  // A word in rodata that holds the symbol's value of that kind; offset in the image.
  uint64_t got_word(const elf::Symbol& symbol, RelocationKind kind) {
    auto key = std::make_pair(symbol.index, kind);
    auto known = got_.find(key);
    if (known != got_.end()) return known->second;
    Bytes& rodata = out_.rodata.bytes;
    rodata.resize((rodata.size() + 7) & ~size_t{7});
    uint64_t at = rodata_base + rodata.size();
    append_le(rodata, uint64_t{0});
    if (kind == RelocationKind::tls_module64) {
      append_le(rodata, uint64_t{0});
      out_.relocations.push_back({RelocationKind::tls_offset64, at + 8, patch_symbol(symbol), 0});
    }
    out_.relocations.push_back({kind, at, patch_symbol(symbol), 0});
    got_[key] = at;
    return at;
  }

  uint64_t plt_stub(const elf::Symbol& symbol) {
    auto known = plt_.find(symbol.index);
    if (known != plt_.end()) return known->second;
    uint64_t got = got_word(symbol, RelocationKind::absolute64);
    Bytes& text = out_.text.bytes;
    uint64_t at = text.size();
    text.push_back(0xff);
    text.push_back(0x25);
    append_le(text, static_cast<uint32_t>(got - (at + 6)));
    plt_[symbol.index] = at;
    return at;
  }

  void store32(const Placed& place, uint64_t offset, uint64_t value) {
    store_le(*place.part, place.offset + offset, static_cast<uint32_t>(value));
  }

  void relocate_section(const elf::Section& section) {
    Placed place = placed_[section.index];
    for (const elf::Relocation& relocation : object_.relocations(section.index)) {
      const elf::Symbol& symbol = object_.symbols()[relocation.symbol];
      uint64_t at = place.image_offset() + relocation.offset;
      auto relative = [&](uint64_t target) {
        store32(place, relocation.offset, target + static_cast<uint64_t>(relocation.addend) - at);
      };
      switch (relocation.type) {
        case R_X86_64_PC32:
        case R_X86_64_PLT32:
          if (!symbol.is_undefined()) {
            relative(placed_.at(symbol.section).image_offset() + symbol.value);
          } else if (find_in_target(symbol.name) != nullptr) {
            out_.relocations.push_back(
                {RelocationKind::pc32, at, patch_symbol(symbol), relocation.addend});
          } else {
            relative(plt_stub(symbol));
          }
          break;
        case R_X86_64_GOTPCREL:
        case R_X86_64_GOTPCRELX:
        case R_X86_64_REX_GOTPCRELX:
          relative(got_word(symbol, RelocationKind::absolute64));
          break;
        case R_X86_64_GOTTPOFF:
          relative(got_word(symbol, RelocationKind::tp_offset64));
          break;
        case R_X86_64_TLSGD:
          relative(got_word(symbol, RelocationKind::tls_module64));
          break;
        case R_X86_64_64:
          out_.relocations.push_back(
              {RelocationKind::absolute64, at, patch_symbol(symbol), relocation.addend});
          break;
        default:
          ADD_FAILURE() << "the test's linker does not know relocation " << relocation.type;
      }
    }
  }

  void add_function(const std::string& name) {
    const elf::Symbol* old = find_in_target(name);
    ASSERT_NE(old, nullptr) << name;
    for (const elf::Symbol& symbol : object_.symbols()) {
      if (symbol.name != name || symbol.is_undefined()) continue;
      patchfmt::FunctionPatch function;
      function.name = name;
      function.address = old->value;
      function.size = old->size;
      function.ranges = {{old->value, old->size}};
      std::string cold = name + ".cold";
      if (const elf::Symbol* part = find_in_target(cold))
        function.ranges.push_back({part->value, part->size});
      function.entry_bytes =
          target_.at_address(old->value, std::min<uint64_t>(old->size, 64))->copy();
      function.new_offset = placed_.at(symbol.section).image_offset() + symbol.value;
      function.new_size = symbol.size;
      function.proof = "symbol table";
      out_.functions.push_back(function);
    }
  }

  void add_hook_or_kept(const elf::Symbol& symbol) {
    static const std::map<std::string_view, patchfmt::HookWhen> prefixes = {
        {"hook_before_switch", patchfmt::HookWhen::before_switch},
        {"hook_after_switch", patchfmt::HookWhen::after_switch},
        {"hook_before_undo", patchfmt::HookWhen::before_undo},
        {"hook_after_undo", patchfmt::HookWhen::after_undo}};
    if (symbol.is_undefined() || !placed_.contains(symbol.section)) return;
    uint64_t at = placed_[symbol.section].image_offset() + symbol.value;
    for (const auto& [prefix, when] : prefixes)
      if (symbol.name.starts_with(prefix))
        out_.hooks.push_back({when, std::string(symbol.name), at});
    if (symbol.name.starts_with("keep_"))
      out_.kept_data.push_back({std::string(symbol.name), at, symbol.size});
  }

  const elf::Image& object_;
  const elf::Image& target_;
  patchfmt::Object out_;
  uint64_t text_size_ = 0, rodata_size_ = 0, data_size_ = 0;
  std::map<uint32_t, uint64_t> tls_;  // offset of each section in the new block
  const elf::Section* eh_frame_ = nullptr;
  std::map<uint32_t, Placed> placed_;
  std::map<uint32_t, uint32_t> symbols_;
  std::map<std::pair<uint32_t, RelocationKind>, uint64_t> got_;
  std::map<uint32_t, uint64_t> plt_;
};

}  // namespace

patchfmt::Object make_object(Workshop& workshop, const std::filesystem::path& target,
                             const std::string& source, const std::vector<std::string>& replaced,
                             const std::string& flags) {
  static int number = 0;
  auto compiled = workshop.object("patch" + std::to_string(++number) + ".o", source, flags);
  auto object = elf::Image::open(compiled);
  auto of_target = elf::Image::open(target);
  EXPECT_TRUE(object.ok() && of_target.ok());
  return Linker(*object, *of_target).link(replaced);
}

}  // namespace livecare::engine::testing
