// A tool that is killed between mmap and the first byte of the control header leaves an empty
// read-only mapping. Nothing in it says whose it is, and a mapping of somebody else must never be
// unmapped.
//
// So the intention is written down first, where the next run looks: in the seven padding bytes of
// e_ident (EI_PAD) of the patched object's ELF header, as it lies in this process's memory. They
// are zero in every file and read by nobody; the page becomes a private copy. A record holds a
// mark, the distance to the region and its size, in pages:
//
//   16 bits "Lv" | 20 bits distance from the ELF header (signed) | 20 bits size
//
// The order is: record, mmap, header, record cleared. The next run that finds a record looks at
// what is mapped there now. Exactly the region, private and anonymous, without a header: it is
// ours. A header: it is an image like any other. Anything else, or nothing: not ours (the program
// may have used the place after the mmap failed). Then the record is cleared.
//
// Both 2 GiB of reach (what a jump has) and 4 GiB of size are more than any image needs. One write
// of seven bytes within a page is whole or not at all.
//
// Rejected: naming the mapping (PR_SET_VMA_ANON_NAME comes after mmap, and is off in many kernels);
// a memfd with a name (takes a file descriptor of the program, visible in a race with its open()).
#include "engine/intent.h"

#include <elf.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "engine/stage.h"
#include "engine/steps.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;

constexpr uint64_t record_bytes = EI_NIDENT - EI_PAD;
constexpr uint64_t mark = 0x764c;
constexpr int mark_bits = 16, field_bits = 20;
constexpr uint64_t field_mask = (uint64_t{1} << field_bits) - 1;

RemoteAddress record_at(RemoteAddress headers) {
  return headers + EI_PAD;
}

// Zero: empty. No value: this is no ELF header.
std::optional<uint64_t> read_record(const remote::Memory& memory, RemoteAddress headers) {
  if (headers.is_null()) return std::nullopt;
  auto identity = memory.read(headers, EI_NIDENT);
  if (!identity.ok() || std::memcmp(identity->data(), ELFMAG, SELFMAG) != 0) return std::nullopt;
  uint64_t record = 0;
  for (uint64_t i = 0; i < record_bytes; ++i)
    record |= uint64_t{(*identity)[EI_PAD + i]} << (8 * i);
  return record;
}

Bytes bytes_of(uint64_t record) {
  Bytes bytes;
  for (uint64_t i = 0; i < record_bytes; ++i)
    bytes.push_back(static_cast<uint8_t>(record >> (8 * i)));
  return bytes;
}

std::optional<uint64_t> encode(RemoteAddress headers, const ControlPart& region) {
  auto pages = static_cast<int64_t>(region.address - headers.address()) /
               static_cast<int64_t>(patchfmt::page_bytes);
  constexpr int64_t reach = int64_t{1} << (field_bits - 1);
  uint64_t size = region.size / patchfmt::page_bytes;
  if (pages < -reach || pages >= reach || size > field_mask) return std::nullopt;
  return mark | (static_cast<uint64_t>(pages) & field_mask) << mark_bits |
         size << (mark_bits + field_bits);
}

std::optional<ControlPart> decode(RemoteAddress headers, uint64_t record) {
  if ((record & 0xffff) != mark) return std::nullopt;
  uint64_t distance = record >> mark_bits & field_mask;
  if (distance >> (field_bits - 1) != 0) distance |= ~field_mask;
  return ControlPart{headers.address() + distance * patchfmt::page_bytes,
                     (record >> (mark_bits + field_bits)) * patchfmt::page_bytes};
}

}  // namespace

Status write_intent(remote::Session& session, const remote::LoadedObject& object,
                    const ControlPart& region) {
  auto there = read_record(session.memory(), object.headers);
  auto record = encode(object.headers, region);
  if (there != uint64_t{0} || !record) {
    log(LogLevel::debug, "{}: no room for a record in its ELF header", object.name());
    return ok_status();
  }
  TRY_STATUS(session.write(record_at(object.headers), bytes_of(*record)));
  step("intent");
  return ok_status();
}

Status clear_intent(remote::Session& session, const remote::LoadedObject& object) {
  auto there = read_record(session.memory(), object.headers);
  if (!there || !decode(object.headers, *there)) return ok_status();
  TRY_STATUS(session.write(record_at(object.headers), bytes_of(0)));
  step("intent cleared");
  return ok_status();
}

std::vector<Intent> find_intents(const Target& target) {
  std::vector<Intent> found;
  for (const remote::LoadedObject& object : target.loaded().objects()) {
    auto record = read_record(target.memory(), object.headers);
    auto region = record ? decode(object.headers, *record) : std::nullopt;
    if (region) found.push_back({object.headers, *region});
  }
  return found;
}

Status end_intent(remote::Session& session, const Target& target, const Intent& intent) {
  // As it is now that we have the process for ourselves.
  auto record = read_record(session.memory(), intent.headers);
  auto region = record ? decode(intent.headers, *record) : std::nullopt;
  if (!region || region->address != intent.region.address || region->size != intent.region.size)
    return ok_status();
  TRY(remote::Maps maps, remote::Maps::read(session.pid()));
  TRY(FoundImages now, find_images(target.memory(), maps));
  bool has_header = std::any_of(now.images.begin(), now.images.end(), [&](const Control& image) {
    return image.region.address == region->address;
  });
  if (!has_header && now.damaged.empty() && is_filled_by_us(maps, *region)) {
    Control empty;
    empty.region = *region;
    TRY_STATUS(unmap_images(session, {&empty, 1}));
  }
  return session.write(record_at(intent.headers), bytes_of(0));
}

}  // namespace livecare::engine
