// The dynamic section of a loaded object and the tables it points to, read from memory. Internal to
// the room; every pointer in them is checked, for the process may hold anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "remote/loaded.h"
#include "remote/memory.h"

namespace livecare::remote {

class DynamicView {
 public:
  DynamicView(const Memory& memory, const LoadedObject& object);

  bool empty() const { return entries_.empty(); }
  // The value as it stands in memory.
  std::optional<uint64_t> raw(int64_t tag) const;
  // A pointer: the dynamic linker relocates some of them in place, some (vdso, read-only dynamic
  // sections) not.
  std::optional<RemoteAddress> pointer(int64_t tag) const;

  std::string soname() const;
  std::vector<std::string> needed() const;
  std::vector<LoadedSymbol> symbols() const;  // with versions; [0] is the null symbol
  std::vector<LoadedRelocation> relocations() const;

 private:
  std::string string_at(uint64_t offset) const;
  uint64_t symbol_count() const;
  uint64_t gnu_hash_count(RemoteAddress table) const;
  void add_relocations(int64_t table, int64_t size, std::vector<LoadedRelocation>& out) const;
  std::vector<std::string> version_names() const;

  const Memory& memory_;
  const LoadedObject& object_;
  std::vector<std::pair<int64_t, uint64_t>> entries_;
  Bytes strings_;
};

}  // namespace livecare::remote
