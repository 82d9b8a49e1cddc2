// Cuts the sections of an object into atoms (ObjectMap::make's first half).
#pragma once

#include <map>
#include <set>
#include <vector>

#include "objdiff/object_map.h"

namespace livecare::objdiff {

class AtomCutter {
 public:
  explicit AtomCutter(ObjectMap& map) : map_(map) {}

  // Atoms for everything that has a symbol, for code, and for the entries of mergeable sections.
  Status cut_named();
  // Says that an unnamed object begins at this place. Ignored where a named atom covers it.
  void mark_start(uint32_t section, int64_t offset);
  // Cuts what is left; then every offset of every section lies in at most one atom.
  void cut_gaps();

 private:
  struct Gap {
    uint32_t section;
    uint64_t begin;
    uint64_t end;
  };
  Status cut_section(const elf::Section& section, std::vector<uint32_t>& symbols);
  AtomId add(const elf::Section& section, AtomKind kind, uint64_t begin, uint64_t end);
  void name_atom(Atom& atom, uint32_t symbol);
  void cut_gap(const elf::Section& section, uint64_t begin, uint64_t end);
  void cut_feature_tests(const elf::Section& section, ByteView code, uint64_t begin);
  void cut_merge_gap(const elf::Section& section, uint64_t begin, uint64_t end);
  uint64_t jump_table_end(const elf::Section& section, uint64_t begin, uint64_t end) const;
  void sort_and_place();

  ObjectMap& map_;
  std::vector<Gap> gaps_;
  std::map<uint32_t, std::set<uint64_t>> starts_;
};

}  // namespace livecare::objdiff
