// vmlinux or a module as shipped, with what is needed to prove places in it and to name them to
// kcare.ko. Immutable after open(), so thread-safe.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "elf/image.h"
#include "match/matcher.h"

namespace livecare::builder {

inline constexpr std::string_view vmlinux_name = "vmlinux";

// A place as kcare.ko looks for it: see struct kcare_symbol.
struct ShippedSymbol {
  std::string name;
  uint32_t position = 0;  // among namesakes, from 1 in order of address; 0: the only one
  uint64_t offset = 0;    // vmlinux: from _text, modulo 2^64; a module: 0
  uint64_t size = 0;
};

class ShippedObject {
 public:
  // name: "vmlinux" or what the kernel calls the module.
  static Result<std::unique_ptr<ShippedObject>> open(std::string name,
                                                     const std::filesystem::path& file);

  const std::string& name() const { return name_; }
  bool is_vmlinux() const { return name_ == vmlinux_name; }
  const Bytes& build_id() const { return build_id_; }
  const match::Matcher& matcher() const { return *matcher_; }
  const elf::Image& image() const { return *image_; }

  // The symbol at an address, `wanted` if that is one of its names. Refused when there is none.
  Result<ShippedSymbol> symbol_at(uint64_t address, std::string_view wanted) const;
  // The one global symbol of that name; empty without one.
  std::optional<uint64_t> global(std::string_view name) const;
  // False when the file names its sources and this is none of them.
  bool may_have_source(std::string_view base_name) const {
    return sources_.empty() || sources_.contains(base_name);
  }
  // The name of the section that an address lies in; empty for none.
  std::string_view section_at(uint64_t address) const;

 private:
  ShippedObject() = default;
  Status index(const elf::Image& file);

  std::string name_;
  Bytes build_id_;
  std::unique_ptr<elf::Image> image_;
  std::unique_ptr<match::Matcher> matcher_;
  uint64_t base_ = 0;                                            // vmlinux: _text
  std::map<std::string_view, std::vector<uint64_t>> addresses_;  // by name, ascending, once each
  std::multimap<uint64_t, const elf::Symbol*> by_address_;
  std::set<std::string_view> sources_;
};

// The build-ID in a section of notes that has others beside it (vmlinux: .notes).
Bytes build_id_of(const elf::Image& file);

}  // namespace livecare::builder
