// `.cold` parts belong to the function whose name they carry.
#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "objdiff/object_map.h"

namespace livecare::objdiff {

class Parts {
 public:
  explicit Parts(const ObjectMap& map);

  // no_atom for anything that is not a part of a function of this object.
  AtomId parent_of(AtomId part) const { return parent_[part]; }
  // Indices of symbols, in order of name.
  std::vector<uint32_t> symbols_of(AtomId parent) const;
  const std::vector<AtomId>& of(AtomId parent) const;

 private:
  const ObjectMap& map_;
  std::vector<AtomId> parent_;
  std::map<AtomId, std::vector<AtomId>> parts_;
};

}  // namespace livecare::objdiff
