#include "engine/stage.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "engine/layout.h"
#include "engine/steps.h"
#include "engine/tls_block.h"
#include "patchfmt/codec.h"

namespace livecare::engine {
namespace {

using remote::BorrowedThread;
using remote::RemoteAddress;

// One page stays unmapped below and above an image, so that its header begins a mapping and a wild
// access past it is caught.
constexpr uint64_t guard_bytes = patchfmt::page_bytes;

Control make_control(const StageRequest& request) {
  const patchfmt::Object& patch = *request.planned->patch;
  Control control;
  control.transaction = request.transaction;
  control.transaction_objects = request.transaction_objects;
  control.replaces = request.planned->current ? request.planned->current->region.address : 0;
  control.target_bias = request.planned->object.bias;
  control.build_id = patch.build_id;
  control.soname = patch.soname;
  control.patchset = request.patchset->name;
  control.level = request.patchset->level;
  for (const patchfmt::Fix& fix : request.patchset->fixes)
    control.cves.insert(control.cves.end(), fix.cves.begin(), fix.cves.end());
  control.info = patchfmt::kpatch_info(*request.patchset);
  control.functions = request.planned->functions;
  for (const patchfmt::ImageSymbol& symbol : patch.image_symbols)
    if (symbol.offset - patch.text.offset < patch.text.size) control.code.push_back(symbol);
  control.kept_data = patch.kept_data;
  control.hooks = patch.hooks;
  control.eh_frame_size = patch.eh_frame_size;
  return control;
}

// Fills in what depends on the place.
void place_control(Control& control, const patchfmt::Object& patch, const Layout& layout,
                   uint64_t region) {
  control.region = {region, layout.size};
  control.image = region + layout.image;
  auto part = [&](const patchfmt::Part& from) {
    return ControlPart{control.image + from.offset, from.size};
  };
  control.text = part(patch.text);
  control.rodata = part(patch.rodata);
  control.data = part(patch.data);
  control.eh_frame = patch.eh_frame_size != 0 ? control.image + patch.eh_frame_offset : 0;
  for (ControlFunction& function : control.functions) function.new_address += control.image;
}

Result<uint64_t> pick_region(const BorrowedThread& thread, const PlannedObject& planned,
                             uint64_t size) {
  TRY(remote::Maps maps, remote::Maps::read(thread.memory().pid()));
  auto gap = maps.find_gap(planned.object.span, size + 2 * guard_bytes);
  if (!gap)
    return make_error(ErrorCode::refused, planned.patch->soname,
                      "no {} bytes of address space are free within 2 GiB of the library", size);
  return gap->address() + guard_bytes;
}

Status map_fixed(BorrowedThread& thread, uint64_t at, uint64_t size, int protection,
                 int extra_flags) {
  if (size == 0) return ok_status();
  TRY(uint64_t got,
      thread.syscall(SYS_mmap, {at, page_ceil(size), static_cast<uint64_t>(protection),
                                static_cast<uint64_t>(MAP_PRIVATE | MAP_ANONYMOUS | extra_flags),
                                ~uint64_t{0}, 0}));
  if (got == at) return ok_status();
  // A kernel before 4.17 takes MAP_FIXED_NOREPLACE for a hint.
  (void)thread.syscall(SYS_munmap, {got, page_ceil(size)});
  return make_error(ErrorCode::busy, "", "the address {:#x} is not free any more; try again", at);
}

Status protect_parts(BorrowedThread& thread, const Control& control) {
  struct {
    ControlPart part;
    int protection;
  } parts[] = {
      {{stubs_of(control), patchfmt::page_bytes}, PROT_READ | PROT_EXEC},
      {control.text, PROT_READ | PROT_EXEC},
      {control.data, PROT_READ | PROT_WRITE},
      {{own_page_of(control), patchfmt::page_bytes}, PROT_READ | PROT_WRITE},
  };
  for (const auto& [part, protection] : parts)
    TRY_STATUS(map_fixed(thread, part.address, part.size, protection, MAP_FIXED));
  return ok_status();
}

Status write_stubs(BorrowedThread& thread, const Control& control) {
  RemoteAddress stubs(stubs_of(control));
  TRY_STATUS(thread.write(stubs, ByteView(remote::return_pad.data(), remote::return_pad.size())));
  return thread.write(stubs + flag_stub_offset, ByteView(flag_stub.data(), flag_stub.size()));
}

}  // namespace

Result<Control> map_image(BorrowedThread& thread, const StageRequest& request) {
  const patchfmt::Object& patch = *request.planned->patch;
  Control control = make_control(request);
  Layout layout = lay_out(encode_control(control).size(), patch.image_size);
  TRY(uint64_t region, pick_region(thread, *request.planned, layout.size));
  place_control(control, patch, layout, region);
  TRY_STATUS(map_fixed(thread, region, layout.size, PROT_READ, MAP_FIXED_NOREPLACE));
  step("mapped");
  // The header comes first: from now on the next run knows whose memory this is.
  Status written = thread.write(RemoteAddress(region), encode_control(control));
  if (written.ok()) {
    step("header");
    written = protect_parts(thread, control);
  }
  if (written.ok()) written = write_stubs(thread, control);
  if (!written.ok()) {
    (void)unmap_image(thread, control);
    return written.take_error();
  }
  step("protected");
  return control;
}

Result<std::optional<Control>> reuse_image(BorrowedThread& thread, const Target& target,
                                           const StageRequest& request,
                                           const std::vector<SymbolValue>& values) {
  const patchfmt::Object& patch = *request.planned->patch;
  for (const Control& kept : request.planned->kept) {
    std::vector<SymbolValue> placed = values;
    place_image_symbols(patch, kept.image, placed);
    TRY(bool has_tls_block, find_tls_block(target, request, placed));
    if (!has_tls_block) continue;
    auto image = relocate(patch, kept.image, placed);
    if (!image.ok()) continue;  // too far away from where it would have to reach now
    TRY(Bytes text, thread.memory().read(RemoteAddress(kept.text.address), image->text.size()));
    TRY(Bytes rodata,
        thread.memory().read(RemoteAddress(kept.rodata.address), image->rodata.size()));
    if (text != image->text || rodata != image->rodata) continue;
    Control control = kept;
    Control fresh = make_control(request);
    control.transaction = fresh.transaction;
    control.transaction_objects = fresh.transaction_objects;
    control.replaces = fresh.replaces;
    TRY_STATUS(thread.write(RemoteAddress(control.region.address + control_unwinder_offset),
                            encode_transaction(control)));
    return std::optional(std::move(control));
  }
  return std::optional<Control>();
}

Status write_image(BorrowedThread& thread, const Control& control, const PlannedObject& planned,
                   std::vector<SymbolValue> values) {
  place_image_symbols(*planned.patch, control.image, values);
  TRY(RelocatedImage image, relocate(*planned.patch, control.image, values));
  TRY_STATUS(thread.write(RemoteAddress(control.text.address), image.text));
  if (!image.rodata.empty())
    TRY_STATUS(thread.write(RemoteAddress(control.rodata.address), image.rodata));
  if (!image.data.empty())
    TRY_STATUS(thread.write(RemoteAddress(control.data.address), image.data));
  step("written");
  return ok_status();
}

Status unmap_image(BorrowedThread& thread, const Control& control) {
  TRY(uint64_t result, thread.syscall(SYS_munmap, {control.region.address, control.region.size}));
  (void)result;
  return ok_status();
}

}  // namespace livecare::engine
