// Update metadata as it comes from a server that lies. Nothing crashes, nothing takes more than
// moments; what is read comes back through the writer as the same bytes to be signed.
#include "trust/tuf/delegation.h"
#include "trust/tuf/trusted_set.h"
#include "trust/tuf/writer.h"

namespace {

using namespace livecare;
using namespace livecare::trust::tuf;

// Reading what was written gives what was written, though not every member that was read.
template <class T>
void check_round_trip(const Result<T>& first, Result<T> (*parse)(const Envelope&)) {
  if (!first.ok()) return;
  const Json written = to_json(*first);
  auto file = to_unsigned_file(written, "again.json");
  LIVECARE_ASSERT(file.ok());
  auto envelope = parse_envelope(ByteView(std::string_view(*file)), "again.json");
  LIVECARE_ASSERT(envelope.ok());
  auto again = parse(*envelope);
  LIVECARE_ASSERT(again.ok() && to_json(*again) == written);
  LIVECARE_ASSERT(*canonical_json(written, "again.json") == envelope->signed_bytes);
}

void ask_for_paths(const Targets& targets) {
  for (const char* path : {"", "a", "dir/file.tgz", "***/[a-z"})
    for (const RoleForPath& role : roles_for_path(targets.delegations, path))
      LIVECARE_ASSERT(role.keys != nullptr && !role.name.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView bytes(data, size);
  auto set = TrustedSet::start(bytes, 0);
  if (set.ok()) (void)set->add_root(bytes);
  auto envelope = parse_envelope(bytes, "x.json");
  if (!envelope.ok()) return 0;
  check_round_trip(parse_root(*envelope), parse_root);
  check_round_trip(parse_timestamp(*envelope), parse_timestamp);
  check_round_trip(parse_snapshot(*envelope), parse_snapshot);
  auto targets = parse_targets(*envelope);
  check_round_trip(targets, parse_targets);
  if (targets.ok()) ask_for_paths(*targets);
  return 0;
}
