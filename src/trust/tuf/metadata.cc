#include "trust/tuf/metadata.h"

#include <algorithm>
#include <set>

#include "trust/tuf/json_fields.h"
#include "trust/tuf/utc_time.h"

namespace livecare::trust::tuf {

namespace {

constexpr size_t path_patterns_max = 65'536;  // of one delegated role
constexpr uint32_t succinct_bits_max = 32;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// "1", "1.0" or "1.0.33": a later major version may mean what we do not know.
Status check_spec_version(const std::string& text, std::string_view object) {
  std::string_view major = std::string_view(text).substr(0, text.find('.'));
  if (major == "1") return ok_status();
  return make_error(ErrorCode::unsupported, object,
                    "follows version {} of the specification, this program 1.x; update it", text);
}

Status parse_common(const Envelope& envelope, const char* type, Common& common) {
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  TRY(std::string given, fields.text("_type"));
  if (given != type)
    return make_error(ErrorCode::invalid_input, envelope.object, "is {} metadata, not {}", given,
                      type);
  TRY(common.spec_version, fields.text("spec_version"));
  TRY_STATUS(check_spec_version(common.spec_version, envelope.object));
  TRY(common.version, fields.number("version", 1, version_max));
  TRY(std::string expires, fields.text("expires"));
  auto seconds = parse_utc(expires);
  if (!seconds) return fields.wrong("expires", "is not a time like 2030-01-31T00:00:00Z");
  common.expires_s = *seconds;
  return ok_status();
}

Result<RoleKeys> parse_role_keys(const Fields& fields) {
  RoleKeys keys;
  TRY(keys.key_ids, fields.texts("keyids", signatures_max));
  std::set<std::string> distinct(keys.key_ids.begin(), keys.key_ids.end());
  if (distinct.size() != keys.key_ids.size())
    return fields.wrong("keyids", "names a key twice, which could be counted twice");
  TRY(keys.threshold, fields.number("threshold", 1, signatures_max));
  return keys;
}

Result<KeyMap> parse_keys(const Json& json, std::string_view object) {
  KeyMap keys;
  for (const auto& [id, value] : json.items()) {
    TRY(Key key, Key::parse(value, object));
    keys.emplace(id, std::move(key));
  }
  return keys;
}

Result<Digests> parse_digests(const Fields& fields) {
  TRY(const Json* json, fields.object("hashes"));
  Digests digests;
  for (const auto& [name, value] : json->items()) {
    if (!value.is_string()) return fields.wrong("hashes", "holds something that is not a text");
    digests.emplace(name, value.get<std::string>());
  }
  if (digests.empty()) return fields.wrong("hashes", "is empty");
  return digests;
}

Result<MetaFile> parse_meta_file(const Json& json, std::string_view object,
                                 const std::string& name) {
  TRY(Fields fields, Fields::of(json, object, "meta " + name));
  MetaFile file;
  TRY(file.version, fields.number("version", 1, version_max));
  if (fields.has("length")) {
    TRY(file.bytes, fields.number("length", 1, version_max));
  }
  if (fields.has("hashes")) {
    TRY(file.digests, parse_digests(fields));
  }
  return file;
}

Result<std::map<std::string, MetaFile>> parse_meta(const Envelope& envelope) {
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  TRY(const Json* meta, fields.object("meta"));
  std::map<std::string, MetaFile> files;
  for (const auto& [name, value] : meta->items()) {
    TRY(MetaFile file, parse_meta_file(value, envelope.object, name));
    files.emplace(name, std::move(file));
  }
  return files;
}

Result<TargetFile> parse_target(const Json& json, std::string_view object,
                                const std::string& path) {
  TRY(Fields fields, Fields::of(json, object, "target " + path));
  TargetFile file;
  TRY(file.bytes, fields.number("length", 0, version_max));
  TRY(file.digests, parse_digests(fields));
  if (auto custom = json.find("custom"); custom != json.end()) file.custom = *custom;
  return file;
}

Result<DelegatedRole> parse_delegated_role(const Json& json, std::string_view object) {
  TRY(Fields fields, Fields::of(json, object, "delegation"));
  DelegatedRole role;
  TRY(role.name, fields.text("name"));
  if (role.name.empty() || role.name.size() > role_name_bytes_max || is_top_level_role(role.name))
    return fields.wrong("name", "is empty, too long, or the name of a top-level role");
  TRY(role.keys, parse_role_keys(fields));
  TRY(role.terminating, fields.boolean("terminating", false));
  bool has_paths = fields.has("paths"), has_prefixes = fields.has("path_hash_prefixes");
  if (has_paths && has_prefixes)
    return fields.wrong("paths", "stands beside \"path_hash_prefixes\"; one of them may");
  if (has_paths) {
    TRY(role.paths, fields.texts("paths", path_patterns_max));
  }
  if (has_prefixes) {
    TRY(role.path_hash_prefixes, fields.texts("path_hash_prefixes", path_patterns_max));
  }
  for (const std::string& prefix : role.path_hash_prefixes)
    if (!is_hex(prefix)) return fields.wrong("path_hash_prefixes", "holds what is not hex");
  return role;
}

Result<SuccinctRoles> parse_succinct(const Json& json, std::string_view object) {
  TRY(Fields fields, Fields::of(json, object, "succinct_roles"));
  SuccinctRoles roles;
  TRY(roles.keys, parse_role_keys(fields));
  TRY(roles.prefix, fields.text("name_prefix"));
  if (roles.prefix.empty() || roles.prefix.size() > role_name_bytes_max)
    return fields.wrong("name_prefix", "is empty or too long");
  TRY(uint64_t bits, fields.number("bit_length", 1, succinct_bits_max));
  roles.bits = static_cast<uint32_t>(bits);
  return roles;
}

Result<Delegations> parse_delegations(const Json& json, std::string_view object) {
  TRY(Fields fields, Fields::of(json, object, "delegations"));
  Delegations delegations;
  TRY(const Json* keys, fields.object("keys"));
  TRY(delegations.keys, parse_keys(*keys, object));
  bool has_roles = fields.has("roles"), has_succinct = fields.has("succinct_roles");
  if (has_roles == has_succinct)
    return fields.wrong("roles", "must stand alone or \"succinct_roles\" in its place");
  if (has_succinct) {
    TRY(delegations.succinct, parse_succinct(json.at("succinct_roles"), object));
    return delegations;
  }
  TRY(const Json* roles, fields.array("roles", delegated_roles_max));
  std::set<std::string> names;
  for (const Json& one : *roles) {
    TRY(DelegatedRole role, parse_delegated_role(one, object));
    if (!names.insert(role.name).second)
      return fields.wrong("roles", "names a role twice: " + role.name);
    delegations.roles.push_back(std::move(role));
  }
  return delegations;
}

}  // namespace

bool is_top_level_role(std::string_view name) {
  return name == "root" || name == "timestamp" || name == "snapshot" || name == "targets";
}

Result<Envelope> parse_envelope(ByteView bytes, std::string_view object) {
  TRY(Json json, parse_json(bytes, object));
  TRY(Fields fields, Fields::of(json, object, "metadata"));
  TRY(const Json* body, fields.object("signed"));
  TRY(const Json* signatures, fields.array("signatures", signatures_max));
  Envelope envelope;
  envelope.object = object;
  std::set<std::string> ids;
  for (const Json& one : *signatures) {
    TRY(Fields signature, Fields::of(one, object, "signature"));
    TRY(std::string id, signature.text("keyid"));
    TRY(std::string hex, signature.text("sig"));
    if (hex.size() > signature_hex_bytes_max) return signature.wrong("sig", "is too long");
    if (!ids.insert(id).second)
      return make_error(ErrorCode::invalid_input, object, "is signed twice by the key ID {}", id);
    envelope.signatures.push_back({std::move(id), from_hex(hex).value_or(Bytes())});
  }
  TRY(envelope.signed_bytes, canonical_json(*body, object));
  envelope.body = *body;
  return envelope;
}

Result<Root> parse_root(const Envelope& envelope) {
  Root root;
  TRY_STATUS(parse_common(envelope, "root", root));
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  TRY(root.consistent_snapshot, fields.boolean("consistent_snapshot", false));
  TRY(const Json* keys, fields.object("keys"));
  TRY(root.keys, parse_keys(*keys, envelope.object));
  TRY(const Json* roles, fields.object("roles"));
  for (const auto& [name, value] : roles->items()) {
    TRY(Fields role, Fields::of(value, envelope.object, "role " + name));
    TRY(RoleKeys role_keys, parse_role_keys(role));
    root.roles.emplace(name, std::move(role_keys));
  }
  for (const char* name : {"root", "timestamp", "snapshot", "targets"})
    if (root.roles.count(name) == 0)
      return make_error(ErrorCode::invalid_input, envelope.object, "has no role {}", name);
  root.extra = fields.without(
      {"_type", "spec_version", "version", "expires", "consistent_snapshot", "keys", "roles"});
  return root;
}

Result<Timestamp> parse_timestamp(const Envelope& envelope) {
  Timestamp timestamp;
  TRY_STATUS(parse_common(envelope, "timestamp", timestamp));
  TRY(auto files, parse_meta(envelope));
  auto snapshot = files.find("snapshot.json");
  if (snapshot == files.end() || files.size() != 1)
    return make_error(ErrorCode::invalid_input, envelope.object,
                      "must describe snapshot.json and nothing else");
  timestamp.snapshot = snapshot->second;
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  timestamp.extra = fields.without({"_type", "spec_version", "version", "expires", "meta"});
  return timestamp;
}

Result<Snapshot> parse_snapshot(const Envelope& envelope) {
  Snapshot snapshot;
  TRY_STATUS(parse_common(envelope, "snapshot", snapshot));
  TRY(snapshot.files, parse_meta(envelope));
  if (snapshot.files.count("targets.json") == 0)
    return make_error(ErrorCode::invalid_input, envelope.object, "does not name targets.json");
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  snapshot.extra = fields.without({"_type", "spec_version", "version", "expires", "meta"});
  return snapshot;
}

Result<Targets> parse_targets(const Envelope& envelope) {
  Targets targets;
  TRY_STATUS(parse_common(envelope, "targets", targets));
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  TRY(const Json* files, fields.object("targets"));
  for (const auto& [path, value] : files->items()) {
    TRY(TargetFile file, parse_target(value, envelope.object, path));
    targets.files.emplace(path, std::move(file));
  }
  if (fields.has("delegations")) {
    TRY(targets.delegations, parse_delegations(envelope.body.at("delegations"), envelope.object));
  }
  targets.extra =
      fields.without({"_type", "spec_version", "version", "expires", "targets", "delegations"});
  return targets;
}

}  // namespace livecare::trust::tuf
