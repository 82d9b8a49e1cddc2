#include "builder/kernel/shipped_object.h"

#include <elf.h>

#include <algorithm>

#include "builder/kernel/placed_module.h"

namespace livecare::builder {
namespace {

uint64_t padded(uint64_t size) {
  return (size + 3) & ~uint64_t{3};
}

bool names_a_place(const elf::Symbol& symbol) {
  return symbol.index != 0 && !symbol.name.empty() && !symbol.is_undefined() &&
         symbol.type != STT_SECTION && symbol.type != STT_FILE;
}

}  // namespace

Bytes build_id_of(const elf::Image& file) {
  for (const elf::Section& section : file.sections()) {
    if (section.type != SHT_NOTE) continue;
    for (uint64_t at = 0; at + 12 <= section.size;) {
      auto name_size = section.bytes.read<uint32_t>(at);
      auto content_size = section.bytes.read<uint32_t>(at + 4);
      auto type = section.bytes.read<uint32_t>(at + 8);
      if (!name_size || !content_size || !type) break;
      uint64_t content_at = at + 12 + padded(*name_size);
      auto name = section.bytes.slice(at + 12, *name_size);
      auto content = section.bytes.slice(content_at, *content_size);
      if (!name || !content) break;
      if (*type == NT_GNU_BUILD_ID && name->as_text() == std::string_view("GNU\0", 4))
        return content->copy();
      at = content_at + padded(*content_size);
    }
  }
  return {};
}

Result<std::unique_ptr<ShippedObject>> ShippedObject::open(std::string name,
                                                           const std::filesystem::path& file) {
  std::unique_ptr<ShippedObject> out(new ShippedObject);
  out->name_ = std::move(name);
  TRY(elf::Image image, elf::Image::open(file));
  out->build_id_ = build_id_of(image);
  if (out->build_id_.empty())
    return make_error(ErrorCode::unsupported, file.native(),
                      "has no build-ID, by which kcare.ko knows what it patches");
  if (out->is_vmlinux()) {
    out->image_ = std::make_unique<elf::Image>(std::move(image));
  } else {
    TRY(elf::Image placed, place_module(image));
    out->image_ = std::make_unique<elf::Image>(std::move(placed));
  }
  TRY(match::Matcher matcher, match::Matcher::create(*out->image_, nullptr));
  out->matcher_ = std::make_unique<match::Matcher>(std::move(matcher));
  TRY_STATUS(out->index(*out->image_));
  return out;
}

Status ShippedObject::index(const elf::Image& file) {
  for (const elf::Symbol& symbol : file.symbols()) {
    if (symbol.type == STT_FILE) sources_.insert(symbol.name.substr(symbol.name.rfind('/') + 1));
    if (!names_a_place(symbol)) continue;
    if (!is_vmlinux() && section_at(symbol.value) == ".outside") continue;
    addresses_[symbol.name].push_back(symbol.value);
    by_address_.emplace(symbol.value, &symbol);
  }
  for (auto& [name, addresses] : addresses_) {
    std::sort(addresses.begin(), addresses.end());
  }
  if (!is_vmlinux()) return ok_status();
  auto base = addresses_.find("_text");
  if (base == addresses_.end() || base->second.size() != 1)
    return make_error(ErrorCode::unsupported, file.name(), "has no symbol _text");
  base_ = base->second[0];
  return ok_status();
}

std::string_view ShippedObject::section_at(uint64_t address) const {
  for (const elf::Section& section : image_->sections())
    if ((section.flags & SHF_ALLOC) && address >= section.address &&
        address - section.address < section.size)
      return section.name;
  return {};
}

Result<ShippedSymbol> ShippedObject::symbol_at(uint64_t address, std::string_view wanted) const {
  auto [first, last] = by_address_.equal_range(address);
  const elf::Symbol* found = nullptr;
  for (auto at = first; at != last; ++at) {
    const elf::Symbol* symbol = at->second;
    // A name that was asked for, then one that says what it is.
    bool better =
        !found || symbol->name == wanted ||
        (found->name != wanted && found->type == STT_NOTYPE && symbol->type != STT_NOTYPE);
    if (better) found = symbol;
  }
  if (!found)
    return make_error(ErrorCode::refused, wanted, "{} has no symbol at its place {:#x}", name_,
                      address);
  ShippedSymbol out;
  out.name = found->name;
  out.size = found->size;
  out.offset = is_vmlinux() ? address - base_ : 0;
  const auto& namesakes = addresses_.find(found->name)->second;
  auto place = std::lower_bound(namesakes.begin(), namesakes.end(), address);
  if (std::count(namesakes.begin(), namesakes.end(), address) != 1)
    return make_error(ErrorCode::refused, wanted, "{} has two symbols {} at one place", name_,
                      found->name);
  if (namesakes.size() > 1) out.position = static_cast<uint32_t>(place - namesakes.begin() + 1);
  return out;
}

std::optional<uint64_t> ShippedObject::global(std::string_view name) const {
  auto namesakes = addresses_.find(name);
  if (namesakes == addresses_.end()) return std::nullopt;
  std::optional<uint64_t> found;
  for (uint64_t address : namesakes->second) {
    auto [first, last] = by_address_.equal_range(address);
    for (auto at = first; at != last; ++at) {
      if (at->second->name != name || at->second->bind == STB_LOCAL) continue;
      if (found && *found != address) return std::nullopt;
      found = address;
    }
  }
  return found;
}

}  // namespace livecare::builder
