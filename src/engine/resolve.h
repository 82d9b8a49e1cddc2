// What the symbols of a patch are in a live process. Essay: resolve.cc.
#pragma once

#include <vector>

#include "engine/relocate.h"
#include "engine/target.h"
#include "patchfmt/patch.h"

namespace livecare::engine {

struct Resolution {
  std::vector<SymbolValue> values;  // SymbolKind::image and new_tls are not filled in yet
  struct Ifunc {
    uint32_t symbol = 0;
    remote::RemoteAddress resolver;
  };
  std::vector<Ifunc> ifuncs;  // no bound word tells their target: the resolver has to be called
};

// Reads the process, changes nothing. An error names the symbol.
Result<Resolution> resolve(const Target& target, const remote::LoadedObject& object,
                           const patchfmt::Object& patch);

// Fills in the symbols that are places in the image itself.
void place_image_symbols(const patchfmt::Object& patch, uint64_t image,
                         std::vector<SymbolValue>& values);

}  // namespace livecare::engine
