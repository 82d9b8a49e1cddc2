// Patch files: whatever the bytes, read() gives an error or a patchset that holds every promise of
// check.h and survives a round trip. The first byte of an input says what the rest is:
//   0  a file;  1  a body (no digest in the way);  2, 3  changes to a good file or body, as triples
//   of a 16-bit offset and a byte, which reach deep places without a corpus.
#include <cstdlib>

#include "patchfmt/body.h"
#include "patchfmt/check.h"
#include "patchfmt/codec.h"
#include "patchfmt/samples.h"

namespace {

using namespace livecare;

Bytes changed(Bytes bytes, ByteView changes) {
  for (size_t at = 0; at + 3 <= changes.size(); at += 3)
    bytes[*changes.read<uint16_t>(at) % bytes.size()] = changes.data()[at + 2];
  return bytes;
}

void must_round_trip(const patchfmt::Patchset& patchset) {
  Bytes file = patchfmt::write(patchset);
  auto again = patchfmt::read(file, "again");
  if (!again.ok() || patchfmt::write_body(again->patchset) != patchfmt::write_body(patchset))
    std::abort();
  (void)patchfmt::kpatch_info(patchset);
}

void try_file(ByteView file) {
  (void)patchfmt::signed_bytes(file, "f").ok();
  (void)patchfmt::add_signature(file, "f", {}).ok();
  if (auto result = patchfmt::read(file, "f"); result.ok()) must_round_trip(result->patchset);
}

void try_body(ByteView body) {
  auto patchset = patchfmt::read_body(body, "f");
  if (patchset.ok() && patchfmt::check(*patchset, "f").ok()) must_round_trip(*patchset);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  ByteView rest(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      try_file(rest);
      break;
    case 1:
      try_body(rest);
      break;
    case 2:
      try_file(changed(patchfmt::write(patchfmt::sample_patchset()), rest));
      break;
    case 3:
      try_body(changed(patchfmt::write_body(patchfmt::sample_patchset()), rest));
      break;
  }
  return 0;
}
