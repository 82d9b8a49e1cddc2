// The four kinds of update metadata as values, and the signed envelope they come in. Formats:
// docs/formats/update-metadata.md and section 4 of the specification of The Update Framework 1.0
// (https://theupdateframework.github.io/specification/latest/).
//
// Reading checks the shape and the limits below, never a signature: what an Envelope holds is
// hostile until trust/tuf/signatures.h has said otherwise. Members that we do not know are part of
// the signed bytes and are kept in `extra`. Errors are invalid_input and name the file.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/tuf/canonical_json.h"
#include "trust/tuf/digest.h"
#include "trust/tuf/key.h"

namespace livecare::trust::tuf {

inline constexpr size_t signatures_max = 256;  // of a file, and keys of a role
inline constexpr size_t signature_hex_bytes_max = 16 << 10;
inline constexpr size_t delegated_roles_max = 16'384;  // named by one file
inline constexpr size_t role_name_bytes_max = 128;
inline constexpr uint64_t version_max = INT64_MAX;

struct Signature {
  std::string key_id;
  Bytes bytes;  // empty when it was not hex: such a one never verifies
};

struct Envelope {
  std::string object;        // the file's name, for errors
  Json body;                 // the member "signed"
  std::string signed_bytes;  // its canonical form
  std::vector<Signature> signatures;
};

// Refuses two signatures by one key ID (section 4.2).
Result<Envelope> parse_envelope(ByteView bytes, std::string_view object);

struct RoleKeys {
  std::vector<std::string> key_ids;  // without duplicates
  uint64_t threshold = 1;            // at least 1
};

using KeyMap = std::map<std::string, Key>;  // by key ID

struct Common {
  std::string spec_version = "1.0.33";
  uint64_t version = 1;   // at least 1
  int64_t expires_s = 0;  // since 1970, UTC; has expired from that second on
  Json extra = Json::object();
};

struct Root : Common {
  bool consistent_snapshot = false;
  KeyMap keys;
  std::map<std::string, RoleKeys> roles;  // root, timestamp, snapshot and targets are there
};

struct MetaFile {
  uint64_t version = 1;
  std::optional<uint64_t> bytes;
  Digests digests;  // may be empty
};

struct Timestamp : Common {
  MetaFile snapshot;
};

struct Snapshot : Common {
  std::map<std::string, MetaFile> files;  // by file name: "targets.json"
};

struct TargetFile {
  uint64_t bytes = 0;
  Digests digests;  // not empty
  Json custom;      // null when there is none
};

struct DelegatedRole {
  std::string name;
  RoleKeys keys;
  bool terminating = false;
  std::vector<std::string> paths;               // patterns
  std::vector<std::string> path_hash_prefixes;  // lowercase hex
};

// TAP 15: 2^bits roles PREFIX-0 .. by the first bits of the path's SHA-256; always terminating.
struct SuccinctRoles {
  std::string prefix;
  RoleKeys keys;
  uint32_t bits = 1;  // 1 to 32
};

struct Delegations {
  KeyMap keys;
  std::vector<DelegatedRole> roles;  // in order: the first is trusted over the second
  std::optional<SuccinctRoles> succinct;
};

struct Targets : Common {
  std::map<std::string, TargetFile> files;  // by target path
  Delegations delegations;
};

Result<Root> parse_root(const Envelope& envelope);
Result<Timestamp> parse_timestamp(const Envelope& envelope);
Result<Snapshot> parse_snapshot(const Envelope& envelope);
Result<Targets> parse_targets(const Envelope& envelope);

// The names that no delegated role may take.
bool is_top_level_role(std::string_view name);

}  // namespace livecare::trust::tuf
