// The control header: the first pages of every image in a target process. It is the truth about
// what is patched; no file anywhere repeats it. Format: docs/formats/control.md.
//
// Pure: values to bytes and back. Reading and writing a live header is images.h. Addresses in these
// structs are those of the process that the header lies in. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::engine {

inline constexpr uint64_t control_bytes_max = uint64_t{32} << 20;
inline constexpr uint32_t control_version = 1;
inline constexpr std::string_view control_magic = "\x7fLVCARE\x1a";

// Where the fields that change after staging lie, from the start of the header. Everything from
// control_body_offset on never changes and is covered by the checksum.
inline constexpr uint64_t control_state_offset = 12;
inline constexpr uint64_t control_unwinder_offset = 32;
inline constexpr uint64_t control_transaction_offset = 40;
inline constexpr uint64_t control_body_offset = 64;

enum class State : uint32_t {
  staged = 1,     // written, nobody can reach it
  switching = 2,  // jumps to it are being written, by a stop that is about to be or just was
  live = 3,
  undoing = 4,  // the same of a stop that restores what the jumps replaced
  kept = 5,     // undone; something in the process may still point into it
};
std::string_view to_string(State state);

struct ControlFunction {
  std::string name;
  uint64_t jump_address = 0;  // first byte that the switch replaces (behind an endbr64)
  Bytes original;             // the shipped bytes there, as many as the jump has
  uint64_t new_address = 0;   // where the jump goes
  uint64_t new_size = 0;
  std::vector<patchfmt::Range> ranges;  // of the shipped function, addresses of this process
};

struct ControlPart {
  uint64_t address = 0;
  uint64_t size = 0;
  uint64_t end() const { return address + size; }
  bool holds(uint64_t word) const { return word - address < size; }
};

struct Control {
  // Mutable fields.
  State state = State::staged;
  uint64_t unwinder_deregister = 0;  // the function that undoes a registration; whether there is
                                     // one: the flag in the own page (layout.h)
  uint64_t transaction = 0;          // same number: the objects that are switched in one stop
  uint64_t replaces = 0;             // region of the level that this one replaces, 0: none
  uint32_t transaction_objects = 1;

  ControlPart region;  // the whole mapping, header included
  uint64_t image = 0;  // offset 0 of the patch file's image
  ControlPart text, rodata, data;
  uint64_t eh_frame = 0;  // 0: none
  uint64_t eh_frame_size = 0;
  uint64_t target_bias = 0;  // load bias of the shipped object
  std::string build_id;
  std::string soname;
  std::string patchset;
  uint32_t level = 0;
  std::vector<std::string> cves;
  std::string info;         // the text of kpatch.info
  std::string tls_carrier;  // soname of the carrier of new thread-local data, or empty
  std::vector<ControlFunction> functions;
  std::vector<patchfmt::ImageSymbol> code;    // every function of the image; offsets from image
  std::vector<patchfmt::KeptData> kept_data;  // offsets from image
  std::vector<patchfmt::Hook> hooks;          // offsets from image
};

Bytes encode_control(const Control& control);
// The mutable fields but the state, for control_unwinder_offset.
Bytes encode_transaction(const Control& control);
// `name` is what messages call it ("process 12, image at 7f12..").
Result<Control> decode_control(ByteView header, std::string_view name);
// How many bytes the header at the start of `first_page` has; empty when it is not one of ours.
std::optional<uint64_t> control_bytes(ByteView first_page);

}  // namespace livecare::engine
