#include "trust/tuf/writer.h"

#include <algorithm>

#include "base/file_system.h"
#include "base/text.h"
#include "trust/keys.h"
#include "trust/tuf/json_fields.h"
#include "trust/tuf/utc_time.h"

namespace livecare::trust::tuf {

namespace {

namespace fs = std::filesystem;

constexpr int indent = 1;
constexpr uint64_t published_bytes_max = uint64_t{2} << 30;

Json common_json(const Common& common, const char* type) {
  Json json = common.extra;
  json["_type"] = type;
  json["spec_version"] = common.spec_version;
  json["version"] = common.version;
  json["expires"] = format_utc(common.expires_s);
  return json;
}

Json role_json(const RoleKeys& keys) {
  return {{"keyids", keys.key_ids}, {"threshold", keys.threshold}};
}

Json keys_json(const KeyMap& keys) {
  Json json = Json::object();
  for (const auto& [id, key] : keys) json[id] = key.json();
  return json;
}

Json meta_json(const MetaFile& file) {
  Json json = {{"version", file.version}};
  if (file.bytes) json["length"] = *file.bytes;
  if (!file.digests.empty()) json["hashes"] = file.digests;
  return json;
}

Json target_json(const TargetFile& file) {
  Json json = {{"length", file.bytes}, {"hashes", file.digests}};
  if (!file.custom.is_null()) json["custom"] = file.custom;
  return json;
}

Json delegated_json(const DelegatedRole& role) {
  Json json = role_json(role.keys);
  json["name"] = role.name;
  json["terminating"] = role.terminating;
  if (!role.path_hash_prefixes.empty())
    json["path_hash_prefixes"] = role.path_hash_prefixes;
  else
    json["paths"] = role.paths;
  return json;
}

Json delegations_json(const Delegations& delegations) {
  Json json = {{"keys", keys_json(delegations.keys)}};
  if (delegations.succinct) {
    Json succinct = role_json(delegations.succinct->keys);
    succinct["name_prefix"] = delegations.succinct->prefix;
    succinct["bit_length"] = delegations.succinct->bits;
    json["succinct_roles"] = succinct;
    return json;
  }
  json["roles"] = Json::array();
  for (const DelegatedRole& role : delegations.roles) json["roles"].push_back(delegated_json(role));
  return json;
}

template <class T>
Status to_status(const Result<T>& result) {
  if (result.ok()) return ok_status();
  return result.error();
}

Status check_readable(const Envelope& envelope) {
  TRY(Fields fields, Fields::of(envelope.body, envelope.object, "signed"));
  TRY(std::string type, fields.text("_type"));
  if (type == "root") return to_status(parse_root(envelope));
  if (type == "timestamp") return to_status(parse_timestamp(envelope));
  if (type == "snapshot") return to_status(parse_snapshot(envelope));
  if (type == "targets") return to_status(parse_targets(envelope));
  return fields.wrong("_type", "is not a kind of metadata");
}

Status write_once(const fs::path& path, ByteView bytes) {
  auto there = read_file(path, published_bytes_max);
  if (there.ok() && ByteView(*there) == bytes) return ok_status();
  if (there.ok())
    return make_error(ErrorCode::conflict, path.native(),
                      "was published with another content; raise the version");
  if (there.error().code != ErrorCode::not_found) return there.take_error();
  return write_file_atomic(path, bytes, 0644);
}

}  // namespace

void add_key(KeyMap& keys, RoleKeys& role, const Key& key) {
  std::string id = key.id();
  keys.insert_or_assign(id, key);
  if (std::find(role.key_ids.begin(), role.key_ids.end(), id) == role.key_ids.end())
    role.key_ids.push_back(std::move(id));
}

Json to_json(const Root& root) {
  Json json = common_json(root, "root");
  json["consistent_snapshot"] = root.consistent_snapshot;
  json["keys"] = keys_json(root.keys);
  json["roles"] = Json::object();
  for (const auto& [name, role] : root.roles) json["roles"][name] = role_json(role);
  return json;
}

Json to_json(const Timestamp& timestamp) {
  Json json = common_json(timestamp, "timestamp");
  json["meta"] = {{"snapshot.json", meta_json(timestamp.snapshot)}};
  return json;
}

Json to_json(const Snapshot& snapshot) {
  Json json = common_json(snapshot, "snapshot");
  json["meta"] = Json::object();
  for (const auto& [name, file] : snapshot.files) json["meta"][name] = meta_json(file);
  return json;
}

Json to_json(const Targets& targets) {
  Json json = common_json(targets, "targets");
  json["targets"] = Json::object();
  for (const auto& [path, file] : targets.files) json["targets"][path] = target_json(file);
  if (!targets.delegations.roles.empty() || targets.delegations.succinct)
    json["delegations"] = delegations_json(targets.delegations);
  return json;
}

Result<std::string> to_unsigned_file(const Json& body, std::string_view object) {
  Json json = {{"signed", body}, {"signatures", Json::array()}};
  std::string text = json.dump(indent, ' ', false, Json::error_handler_t::replace);
  TRY(Envelope envelope, parse_envelope(ByteView(std::string_view(text)), object));
  TRY_STATUS(check_readable(envelope));
  return text;
}

Result<std::string> add_signature(ByteView file, const SigningKey& key, std::string_view object) {
  TRY(Envelope envelope, parse_envelope(file, object));
  TRY_STATUS(check_readable(envelope));
  TRY(Bytes signature, key.sign(ByteView(std::string_view(envelope.signed_bytes))));
  Json signatures = Json::array();
  for (const Signature& before : envelope.signatures)
    if (before.key_id != key.id())
      signatures.push_back({{"keyid", before.key_id}, {"sig", to_hex(before.bytes)}});
  signatures.push_back({{"keyid", key.id()}, {"sig", to_hex(signature)}});
  Json json = {{"signed", envelope.body}, {"signatures", signatures}};
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> sign_file(const Json& body, const std::vector<SigningKey>& keys,
                              std::string_view object) {
  TRY(std::string text, to_unsigned_file(body, object));
  for (const SigningKey& key : keys) {
    TRY(text, add_signature(ByteView(std::string_view(text)), key, object));
  }
  return text;
}

MetaFile describe(ByteView file, uint64_t version) {
  return {version, file.size(), {{"sha256", sha256_hex(file)}}};
}

TargetFile describe_target(ByteView content) {
  return {content.size(), {{"sha256", sha256_hex(content)}}, nullptr};
}

Status RepositoryWriter::write(const std::string& role, ByteView file) {
  const fs::path metadata = directory_ / "metadata";
  const std::string name = percent_encode(role) + ".json";
  TRY(Envelope envelope, parse_envelope(file, name));
  TRY_STATUS(check_readable(envelope));
  const uint64_t version = envelope.body.at("version").get<uint64_t>();
  bool is_versioned = role == "root" || (is_consistent_ && role != "timestamp");
  if (!is_versioned) return write_file_atomic(metadata / name, file, 0644);
  return write_once(metadata / fmt::format("{}.{}", version, name), file);
}

Status RepositoryWriter::write_target(const std::string& path, const TargetFile& file,
                                      ByteView content) {
  TRY_STATUS(check_digests(content, file.digests, path));
  const fs::path relative(path);
  if (path.empty() || relative.is_absolute() || relative.lexically_normal() != relative ||
      *relative.begin() == "..")
    return make_error(ErrorCode::invalid_input, path, "is not a path below the repository");
  const fs::path targets = directory_ / "targets";
  if (!is_consistent_) return write_file_atomic(targets / relative, content, 0644);
  for (const auto& [algorithm, digest] : file.digests) {
    const std::string name = digest + "." + relative.filename().native();
    TRY_STATUS(write_once(targets / relative.parent_path() / name, content));
  }
  return ok_status();
}

}  // namespace livecare::trust::tuf
