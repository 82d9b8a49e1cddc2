// Symbols of a patch, resolved as the process itself has done or would do it.
//
// The best witness for an imported symbol is the target object's own GOT: when it refers to the
// same symbol and version, and the word is bound, that word is the answer, whatever interposition
// (LD_PRELOAD, symbolic binding, a tool that redirects GOT words) led to it. A lazily bound word
// still points into the object's own PLT and says nothing. Without a witness the symbol is looked
// up as the dynamic linker does: the global scope in order, then the object's own dependencies.
//
// A definition that is an ifunc is a resolver, not a function. The word of any other object that is
// bound to the same symbol holds the chosen function; for an ifunc without a dynamic symbol (the
// target's own) the target's IRELATIVE words do. Only when there is none is the resolver called in
// the process, on a borrowed thread.
//
// Rejected: asking dlsym in the process. It needs a borrowed thread for every symbol, takes the
// loader's lock and has no notion of the target's scope.
#include "engine/resolve.h"

#include <elf.h>

#include <map>

namespace livecare::engine {
namespace {

using remote::LoadedObject;
using remote::RemoteAddress;
using remote::RemotePtr;

// The words of one object that the dynamic linker filled with addresses.
class BoundWords {
 public:
  static Result<BoundWords> read(const Target& target, const LoadedObject& object) {
    BoundWords words;
    if (object.dynamic.is_null()) return words;
    TRY(remote::DynamicTables tables, target.loaded().tables(object));
    for (const remote::LoadedRelocation& relocation : tables.relocations) {
      RemotePtr<uint64_t> at(object.bias + relocation.offset);
      if (relocation.type == R_X86_64_IRELATIVE) {
        words.irelative_.emplace(static_cast<uint64_t>(relocation.addend), at);
        continue;
      }
      bool is_address = relocation.type == R_X86_64_GLOB_DAT ||
                        relocation.type == R_X86_64_JUMP_SLOT ||
                        (relocation.type == R_X86_64_64 && relocation.addend == 0);
      if (!is_address || relocation.symbol >= tables.symbols.size()) continue;
      const remote::LoadedSymbol& symbol = tables.symbols[relocation.symbol];
      words.named_.emplace(symbol.name, Word{symbol.version, at});
    }
    return words;
  }

  // The value of a bound word for the symbol; empty: none, or not bound yet.
  std::optional<uint64_t> value_of(const Target& target, const LoadedObject& object,
                                   const std::string& name, const std::string& version) const {
    auto [first, last] = named_.equal_range(name);
    for (auto word = first; word != last; ++word) {
      if (word->second.version != version) continue;
      auto value = target.memory().read_value(word->second.at);
      if (!value.ok() || *value == 0 || object.contains(RemoteAddress(*value))) continue;
      return *value;
    }
    return std::nullopt;
  }

  std::optional<uint64_t> irelative(const Target& target, uint64_t resolver) const {
    auto word = irelative_.find(resolver);
    if (word == irelative_.end()) return std::nullopt;
    auto value = target.memory().read_value(word->second);
    return value.ok() && *value != 0 ? std::optional(*value) : std::nullopt;
  }

 private:
  struct Word {
    std::string version;
    RemotePtr<uint64_t> at;
  };
  std::multimap<std::string, Word> named_;
  std::map<uint64_t, RemotePtr<uint64_t>> irelative_;
};

class Resolver {
 public:
  Resolver(const Target& target, const LoadedObject& object, const patchfmt::Object& patch)
      : target_(target), object_(object), patch_(patch) {}

  Result<Resolution> run() {
    TRY(own_, BoundWords::read(target_, object_));
    for (uint32_t i = 0; i < patch_.symbols.size(); ++i) {
      TRY(SymbolValue value, resolve_one(i, patch_.symbols[i]));
      out_.values.push_back(value);
    }
    return std::move(out_);
  }

 private:
  Error cannot(const patchfmt::Symbol& symbol, std::string_view reason) const {
    std::string version = symbol.version.empty() ? "" : "@" + symbol.version;
    return make_error(ErrorCode::refused, object_.name(), "symbol {}{}: {}", symbol.name, version,
                      reason);
  }

  Result<SymbolValue> resolve_one(uint32_t index, const patchfmt::Symbol& symbol) {
    SymbolValue value;
    switch (symbol.kind) {
      case patchfmt::SymbolKind::image:
      case patchfmt::SymbolKind::new_tls:
        return value;
      case patchfmt::SymbolKind::target:
        value.address = object_.bias + symbol.value;
        return value;
      case patchfmt::SymbolKind::target_got: {
        RemotePtr<uint64_t> word(object_.bias + symbol.value);
        TRY(value.address, target_.memory().read_value(word));
        return value;
      }
      case patchfmt::SymbolKind::target_ifunc:
        if (auto bound = own_.irelative(target_, symbol.value)) {
          value.address = *bound;
        } else {
          out_.ifuncs.push_back({index, RemoteAddress(object_.bias + symbol.value)});
        }
        return value;
      case patchfmt::SymbolKind::target_tls:
        return tls_value(symbol, object_, symbol.value);
      case patchfmt::SymbolKind::import:
        return import_value(index, symbol);
    }
    return cannot(symbol, "unknown kind of symbol; the patch is for a newer livecare");
  }

  Result<SymbolValue> tls_value(const patchfmt::Symbol& symbol, const LoadedObject& owner,
                                uint64_t offset) const {
    auto place = target_.loaded().tls(owner);
    if (!place.ok()) return cannot(symbol, place.error().message);
    SymbolValue value;
    value.is_tls = true;
    value.tls_module = place->module;
    value.tls_offset = offset;
    value.has_tp_offset = place->static_offset.has_value();
    value.tp_offset = place->static_offset.value_or(0) + static_cast<int64_t>(offset);
    return value;
  }

  Result<SymbolValue> import_value(uint32_t index, const patchfmt::Symbol& symbol) {
    SymbolValue value;
    if (auto bound = own_.value_of(target_, object_, symbol.name, symbol.version)) {
      value.address = *bound;
      return value;
    }
    auto found = target_.loaded().resolve(object_, symbol.name, symbol.version);
    if (!found) {
      if (symbol.weak) return value;
      return cannot(symbol, "no library that the process has loaded for it defines this import");
    }
    if (found->symbol.type == STT_TLS)
      return tls_value(symbol, *found->object, found->symbol.value);
    value.address = found->address.address();
    if (found->symbol.type != STT_GNU_IFUNC) return value;
    if (auto bound = bound_elsewhere(symbol, *found)) {
      value.address = *bound;
    } else {
      out_.ifuncs.push_back({index, found->address});
    }
    return value;
  }

  // A word of any object of the same name space that is bound to this ifunc.
  std::optional<uint64_t> bound_elsewhere(const patchfmt::Symbol& symbol,
                                          const remote::FoundSymbol& found) {
    if (auto own = irelative_of(*found.object, found.symbol.value)) return own;
    for (const LoadedObject& other : target_.loaded().objects()) {
      if (other.name_space != object_.name_space || other.dynamic.is_null()) continue;
      const BoundWords* words = words_of(other);
      if (words == nullptr) continue;
      auto value = words->value_of(target_, other, symbol.name, symbol.version);
      // Bound to this definition, not to one that interposes.
      if (value && found.object->contains(RemoteAddress(*value))) return value;
    }
    return std::nullopt;
  }

  std::optional<uint64_t> irelative_of(const LoadedObject& object, uint64_t resolver) {
    const BoundWords* words = words_of(object);
    return words != nullptr ? words->irelative(target_, resolver) : std::nullopt;
  }

  const BoundWords* words_of(const LoadedObject& object) {
    auto known = others_.find(object.bias);
    if (known == others_.end()) {
      auto words = BoundWords::read(target_, object);
      known = others_.emplace(object.bias, words.ok() ? std::move(*words) : BoundWords()).first;
    }
    return &known->second;
  }

  const Target& target_;
  const LoadedObject& object_;
  const patchfmt::Object& patch_;
  BoundWords own_;
  std::map<uint64_t, BoundWords> others_;
  Resolution out_;
};

}  // namespace

Result<Resolution> resolve(const Target& target, const LoadedObject& object,
                           const patchfmt::Object& patch) {
  return Resolver(target, object, patch).run();
}

void place_image_symbols(const patchfmt::Object& patch, uint64_t image,
                         std::vector<SymbolValue>& values) {
  for (size_t i = 0; i < patch.symbols.size(); ++i)
    if (patch.symbols[i].kind == patchfmt::SymbolKind::image)
      values[i].address = image + patch.symbols[i].value;
}

}  // namespace livecare::engine
