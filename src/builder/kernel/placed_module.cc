#include "builder/kernel/placed_module.h"

#include <elf.h>

#include "elf/writer.h"

namespace livecare::builder {
namespace {

// Where modules live on x86-64; any place that a signed 32-bit address reaches will do.
constexpr uint64_t module_address = 0xffff'ffff'c000'0000;
constexpr uint64_t symbol_spacing_bytes = 64;
constexpr uint64_t page_bytes = 4096;
constexpr uint64_t placed_bytes_max = uint64_t{256} << 20;

uint64_t aligned(uint64_t value, uint64_t alignment) {
  return alignment > 1 ? (value + alignment - 1) / alignment * alignment : value;
}

class Placer {
 public:
  explicit Placer(const elf::Image& module)
      : module_(module), writer_(module.machine(), elf::Kind::executable) {}

  Result<elf::Image> run() {
    lay_out();
    if (next_ - module_address > placed_bytes_max)
      return make_error(ErrorCode::unsupported, module_.name(), "is too large to be placed");
    for (const elf::Section& section : module_.sections())
      if (numbers_.size() > section.index && numbers_[section.index] != 0)
        TRY_STATUS(relocate(section));
    add_symbols();
    return elf::Image::parse(writer_.write(), module_.name());
  }

 private:
  void lay_out() {
    numbers_.assign(module_.sections().size(), 0);
    addresses_.assign(module_.sections().size(), 0);
    for (const elf::Section& section : module_.sections()) {
      if (!(section.flags & SHF_ALLOC)) continue;
      next_ = aligned(next_, std::max(section.alignment, uint64_t{16}));
      elf::NewSection placed{
          std::string(section.name), section.type, section.flags,        next_, section.alignment,
          section.entry_size,        section.size, section.bytes.copy(), {}};
      addresses_[section.index] = next_;
      numbers_[section.index] = writer_.add_section(std::move(placed));
      next_ += section.size;
    }
    outside_ = aligned(next_, page_bytes) + page_bytes;
    for (const elf::Symbol& symbol : module_.symbols()) {
      if (symbol.index == 0 || !symbol.is_undefined() || symbol.name.empty()) continue;
      outside_of_[symbol.index] = outside_ + outside_of_.size() * symbol_spacing_bytes;
    }
    uint64_t size = (outside_of_.size() + 1) * symbol_spacing_bytes;
    outside_section_ = writer_.add_section(
        {".outside", SHT_NOBITS, SHF_ALLOC, outside_, page_bytes, 0, size, {}, {}});
    next_ = outside_ + size;
  }

  std::optional<uint64_t> address_of(uint32_t index) const {
    const elf::Symbol& symbol = module_.symbols()[index];
    if (symbol.section == elf::section_absolute) return symbol.value;
    if (auto found = outside_of_.find(index); found != outside_of_.end()) return found->second;
    if (symbol.section >= numbers_.size() || numbers_[symbol.section] == 0) return std::nullopt;
    return addresses_[symbol.section] + symbol.value;
  }

  Status relocate(const elf::Section& section) {
    Bytes& bytes = writer_.section(numbers_[section.index]).bytes;
    for (const elf::Relocation& relocation : module_.relocations(section.index)) {
      if (relocation.type == R_X86_64_NONE) continue;
      auto target = address_of(relocation.symbol);
      const bool wide = relocation.type == R_X86_64_64 || relocation.type == R_X86_64_PC64;
      const uint64_t width = wide ? 8 : 4;
      if (!target || relocation.offset > bytes.size() || width > bytes.size() - relocation.offset)
        return make_error(ErrorCode::invalid_input, module_.name(),
                          "relocation at {:#x} of {} cannot be applied", relocation.offset,
                          section.name);
      uint64_t value = *target + static_cast<uint64_t>(relocation.addend);
      switch (relocation.type) {
        case R_X86_64_64:
        case R_X86_64_32:
        case R_X86_64_32S:
          break;
        case R_X86_64_PC64:
        case R_X86_64_PC32:
        case R_X86_64_PLT32:
          value -= addresses_[section.index] + relocation.offset;
          break;
        default:
          return make_error(ErrorCode::unsupported, module_.name(),
                            "relocation type {} in {} is not known here", relocation.type,
                            section.name);
      }
      if (wide)
        store_le(bytes, relocation.offset, value);
      else
        store_le(bytes, relocation.offset, static_cast<uint32_t>(value));
    }
    return ok_status();
  }

  void add_symbols() {
    for (const elf::Symbol& symbol : module_.symbols()) {
      if (symbol.index == 0 || symbol.type == STT_SECTION) continue;
      elf::NewSymbol out{std::string(symbol.name), symbol.bind,  symbol.type, symbol.visibility,
                         symbol.section,           symbol.value, symbol.size};
      if (auto found = outside_of_.find(symbol.index); found != outside_of_.end()) {
        out.section = outside_section_;
        out.value = found->second;
      } else if (symbol.section < numbers_.size() && numbers_[symbol.section] != 0) {
        out.section = numbers_[symbol.section];
        out.value += addresses_[symbol.section];
      } else if (symbol.section != elf::section_absolute) {
        continue;
      }
      writer_.add_symbol(std::move(out));
    }
  }

  const elf::Image& module_;
  elf::Writer writer_;
  uint64_t next_ = module_address;
  std::vector<uint32_t> numbers_;    // by section of the module: of the writer; 0: left out
  std::vector<uint64_t> addresses_;  // by section of the module
  uint64_t outside_ = 0;
  uint32_t outside_section_ = 0;
  std::map<uint32_t, uint64_t> outside_of_;  // by symbol
};

}  // namespace

Result<elf::Image> place_module(const elf::Image& module) {
  if (module.kind() != elf::Kind::relocatable || module.machine() != elf::Machine::x86_64)
    return make_error(ErrorCode::unsupported, module.name(), "is not a module for x86-64");
  return Placer(module).run();
}

}  // namespace livecare::builder
