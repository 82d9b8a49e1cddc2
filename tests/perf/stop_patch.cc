#include "perf/stop_patch.h"

#include <algorithm>

#include "elf/image.h"

namespace livecare::perf {

Result<patchfmt::Patchset> stop_target_patch(const std::filesystem::path& program) {
  TRY(elf::Image image, elf::Image::open(program));
  auto found =
      std::find_if(image.symbols().begin(), image.symbols().end(),
                   [](const elf::Symbol& symbol) { return symbol.name == "stop_target_work"; });
  if (found == image.symbols().end())
    return make_error(ErrorCode::not_found, program.native(), "has no function stop_target_work");
  constexpr uint64_t entry_bytes_max = 64;
  auto entry = image.at_address(found->value, std::min(found->size, entry_bytes_max));
  if (!entry) return make_error(ErrorCode::invalid_input, program.native(), "is damaged");

  patchfmt::Object object;
  object.build_id = image.build_id();
  object.soname = program.filename();
  object.image_size = patchfmt::page_bytes;
  object.text.bytes = {0x8d, 0x44, 0x7f, 0x02,  // lea 2(%rdi,%rdi,2), %eax
                       0xc3};                   // ret
  object.text.size = object.text.bytes.size();
  object.rodata.offset = object.data.offset = object.image_size;

  patchfmt::FunctionPatch function;
  function.name = "stop_target_work";
  function.address = found->value;
  function.size = found->size;
  function.ranges = {{found->value, found->size}};
  function.entry_bytes = entry->copy();
  function.new_size = object.text.size;
  function.proof = "made for it";
  object.functions.push_back(function);

  patchfmt::Patchset patchset;
  patchset.name = "stop_time";
  patchset.objects.push_back(std::move(object));
  return patchset;
}

}  // namespace livecare::perf
