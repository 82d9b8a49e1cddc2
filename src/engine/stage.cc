#include "engine/stage.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>

#include "engine/intent.h"
#include "engine/layout.h"
#include "engine/steps.h"
#include "engine/tls_block.h"
#include "patchfmt/codec.h"
#include "remote/borrow.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::Session;

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

Result<uint64_t> pick_region(const Session& session, const PlannedObject& planned, uint64_t size) {
  TRY(remote::Maps maps, remote::Maps::read(session.pid()));
  auto gap = maps.find_gap(planned.object.span, size + 2 * guard_bytes);
  if (!gap)
    return make_error(ErrorCode::refused, planned.patch->soname,
                      "no {} bytes of address space are free within 2 GiB of the library", size);
  return gap->address() + guard_bytes;
}

struct Piece {
  ControlPart part;
  int protection = PROT_READ;
  bool lies_in(const remote::Mapping& mapping) const {
    return mapping.range.start.address() <= part.address &&
           part.end() <= mapping.range.end().address() && mapping.is_anonymous() &&
           mapping.readable && !mapping.shared &&
           mapping.writable == ((protection & PROT_WRITE) != 0) &&
           mapping.executable == ((protection & PROT_EXEC) != 0);
  }
};

remote::RemoteSyscall mmap_of(const Piece& piece, int flags) {
  flags |= MAP_PRIVATE | MAP_ANONYMOUS;
  return {SYS_mmap,
          {piece.part.address, piece.part.size, static_cast<uint64_t>(piece.protection),
           static_cast<uint64_t>(flags), ~uint64_t{0}, 0}};
}

// Whether there is anything mapped in a range.
bool is_mapped(const remote::Maps& maps, const ControlPart& part) {
  return std::any_of(maps.all().begin(), maps.all().end(), [&](const remote::Mapping& mapping) {
    return mapping.range.start.address() < part.end() &&
           part.address < mapping.range.end().address();
  });
}

// The region, where nothing else may be. Alone, because what follows writes over what is there.
Status map_region(Session& session, const ControlPart& region) {
  remote::Maps maps;
  auto read_maps = [&] {
    auto now = remote::Maps::read(session.pid());
    if (!now.ok()) return false;
    maps = std::move(now).value();
    return is_mapped(maps, region);
  };
  remote::RemoteSyscall call = mmap_of({region, PROT_READ}, MAP_FIXED_NOREPLACE);
  TRY_STATUS(session.make_calls({&call, 1}, read_maps));
  const remote::Mapping* mapping = maps.find(RemoteAddress(region.address));
  if (mapping != nullptr && Piece{region, PROT_READ}.lies_in(*mapping)) return ok_status();
  return make_error(ErrorCode::busy, "", "the address {:#x} is not free any more; try again",
                    region.address);
}

// Neighbours of the same protection are one piece.
std::vector<Piece> pieces_of(const Control& control) {
  const Piece parts[] = {
      {{stubs_of(control), patchfmt::page_bytes}, PROT_READ | PROT_EXEC},
      {control.text, PROT_READ | PROT_EXEC},
      {control.data, PROT_READ | PROT_WRITE},
      {{own_page_of(control), patchfmt::page_bytes}, PROT_READ | PROT_WRITE},
  };
  std::vector<Piece> pieces;
  for (Piece piece : parts) {
    if (piece.part.size == 0) continue;
    piece.part.size = page_ceil(piece.part.size);
    bool joins = !pieces.empty() && pieces.back().protection == piece.protection &&
                 pieces.back().part.end() == piece.part.address;
    if (joins) pieces.back().part.size += piece.part.size;
    if (!joins) pieces.push_back(piece);
  }
  return pieces;
}

Status protect_parts(Session& session, const Control& control) {
  std::vector<Piece> pieces = pieces_of(control);
  std::vector<remote::RemoteSyscall> calls;
  calls.reserve(pieces.size());
  for (const Piece& piece : pieces) calls.push_back(mmap_of(piece, MAP_FIXED));
  return session.make_calls(calls, [&] {
    auto maps = remote::Maps::read(session.pid());
    return maps.ok() && std::all_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
             const remote::Mapping* mapping = maps->find(RemoteAddress(piece.part.address));
             return mapping != nullptr && piece.lies_in(*mapping);
           });
  });
}

Status write_stubs(Session& session, const Control& control) {
  RemoteAddress stubs(stubs_of(control));
  TRY_STATUS(session.write(stubs, ByteView(remote::return_pad.data(), remote::return_pad.size())));
  return session.write(stubs + flag_stub_offset, ByteView(flag_stub.data(), flag_stub.size()));
}

// The first bytes, with the magic, come last: a header is there as a whole or not at all.
Status write_header(Session& session, const Control& control) {
  Bytes header = encode_control(control);
  ByteView view(header);
  RemoteAddress at(control.region.address);
  TRY_STATUS(session.write(at + control_body_offset,
                           *view.slice(control_body_offset, header.size() - control_body_offset)));
  step("header body");
  TRY_STATUS(session.write(at, *view.slice(0, control_body_offset)));
  step("header");
  return ok_status();
}

Status map_and_write(Session& session, const Control& control, bool& mapped) {
  TRY_STATUS(map_region(session, control.region));
  mapped = true;
  step("mapped");
  TRY_STATUS(write_header(session, control));
  TRY_STATUS(protect_parts(session, control));
  TRY_STATUS(write_stubs(session, control));
  step("protected");
  return ok_status();
}

}  // namespace

bool is_filled_by_us(const remote::Maps& maps, const ControlPart& region) {
  uint64_t next = region.address;
  for (const remote::Mapping& mapping : maps.all()) {
    uint64_t start = mapping.range.start.address(), end = mapping.range.end().address();
    if (end <= region.address || region.end() <= start) continue;
    bool ours = start == next && end <= region.end() && mapping.is_anonymous() && !mapping.shared &&
                mapping.path.empty();
    if (!ours) return false;
    next = end;
  }
  return next == region.end();
}

Result<Control> map_image(Session& session, const StageRequest& request) {
  const patchfmt::Object& patch = *request.planned->patch;
  Control control = make_control(request);
  Layout layout = lay_out(encode_control(control).size(), patch.image_size);
  TRY(uint64_t region, pick_region(session, *request.planned, layout.size));
  place_control(control, patch, layout, region);
  TRY_STATUS(write_intent(session, request.planned->object, control.region));
  bool mapped = false;
  Status done = map_and_write(session, control, mapped);
  if (!done.ok()) {
    // If it cannot be taken away now, the record or the header tells the next run.
    if (!mapped || unmap_images(session, {&control, 1}).ok())
      (void)clear_intent(session, request.planned->object);
    return done.take_error();
  }
  TRY_STATUS(clear_intent(session, request.planned->object));
  return control;
}

Result<std::optional<Control>> reuse_image(Session& session, const Target& target,
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
    TRY(Bytes text, session.memory().read(RemoteAddress(kept.text.address), image->text.size()));
    TRY(Bytes rodata,
        session.memory().read(RemoteAddress(kept.rodata.address), image->rodata.size()));
    if (text != image->text || rodata != image->rodata) continue;
    Control control = kept;
    Control fresh = make_control(request);
    control.transaction = fresh.transaction;
    control.transaction_objects = fresh.transaction_objects;
    control.replaces = fresh.replaces;
    TRY_STATUS(session.write(RemoteAddress(control.region.address + control_unwinder_offset),
                             encode_transaction(control)));
    return std::optional(std::move(control));
  }
  return std::optional<Control>();
}

Status write_image(Session& session, const Control& control, const PlannedObject& planned,
                   std::vector<SymbolValue> values) {
  place_image_symbols(*planned.patch, control.image, values);
  TRY(RelocatedImage image, relocate(*planned.patch, control.image, values));
  TRY_STATUS(session.write(RemoteAddress(control.text.address), image.text));
  if (!image.rodata.empty())
    TRY_STATUS(session.write(RemoteAddress(control.rodata.address), image.rodata));
  if (!image.data.empty())
    TRY_STATUS(session.write(RemoteAddress(control.data.address), image.data));
  step("written");
  return ok_status();
}

Status unmap_images(Session& session, std::span<const Control> images) {
  std::vector<remote::RemoteSyscall> calls;
  calls.reserve(images.size());
  for (const Control& image : images)
    calls.push_back({SYS_munmap, {image.region.address, image.region.size}});
  return session.make_calls(calls, [&] {
    auto maps = remote::Maps::read(session.pid());
    return maps.ok() && std::none_of(images.begin(), images.end(), [&](const Control& image) {
             return is_filled_by_us(*maps, image.region);
           });
  });
}

}  // namespace livecare::engine
