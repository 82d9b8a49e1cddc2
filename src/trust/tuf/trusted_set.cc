// The client workflow of The Update Framework, section 5 of the specification, without its
// downloads.
//
// The idea. Four roles answer four questions: root - whose keys count; timestamp - what is newest,
// as of a day ago; snapshot - which versions of all files belong together; targets - which files
// exist and what is in them. Each is checked by the one before it, so the order of the calls is the
// order of trust. A portal that is taken over holds at most the keys of timestamp and snapshot.
// With them it can offer what the maker signed, in a choice of its own, and no more: not change it
// (targets are signed offline), not go back (versions of all that was seen before are compared),
// not leave a file of the list out (what a snapshot named once must stay named), not stand still
// for longer than the expiry that the maker chose.
//
// Three places are subtle:
//   A recalled timestamp or snapshot may have expired: it is the memory against going back, not an
//   answer. It becomes one only when the repository confirms that it still is the newest.
//   A fast-forward attack raises versions so far that no honest file could follow. The cure is the
//   root's: it replaces the key, and what that key signed is forgotten. "Replaced" is: a key that
//   counted does not any more, at any step between the root at the start and the last. A key that
//   is merely added leaves the old one able to do the same again, so nothing would be cured. The
//   hash that a timestamp gives is of the new snapshot. The recalled one is compared by version
//   although it has another hash, or a repository with hashes could not be protected from going
//   back.
#include "trust/tuf/trusted_set.h"

#include "trust/tuf/signatures.h"
#include "trust/tuf/utc_time.h"

namespace livecare::trust::tuf {

namespace {

Status check_expiry(const Common& common, int64_t now_s, const std::string& object) {
  if (common.expires_s > now_s) return ok_status();
  return make_error(ErrorCode::untrusted, object,
                    "expired at {} and the repository has nothing newer: it is not kept up, or "
                    "somebody withholds updates; check the clock and the repository",
                    format_utc(common.expires_s));
}

Status check_described(ByteView bytes, const MetaFile& file, const std::string& object,
                       std::string_view by) {
  if (file.bytes && *file.bytes != bytes.size())
    return make_error(ErrorCode::untrusted, object, "has {} bytes, {} says {}", bytes.size(), by,
                      *file.bytes);
  if (file.digests.empty()) return ok_status();
  return check_digests(bytes, file.digests, object);
}

Status check_version(uint64_t version, const MetaFile& file, const std::string& object,
                     std::string_view by) {
  if (version == file.version) return ok_status();
  return make_error(ErrorCode::untrusted, object, "is of version {}, {} says {}", version, by,
                    file.version);
}

const RoleKeys& role_of(const Root& root, const std::string& name) {
  auto found = root.roles.find(name);
  LIVECARE_ASSERT(found != root.roles.end());  // parse_root refuses a root without it
  return found->second;
}

// The keys themselves, not their IDs: a key under another ID is still the same key.
bool has_key(const Root& root, const RoleKeys& role, const std::string& identity) {
  for (const std::string& id : role.key_ids) {
    auto key = root.keys.find(id);
    if (key != root.keys.end() && key->second.identity() == identity) return true;
  }
  return false;
}

bool loses_a_key(const Root& before, const Root& after, const std::string& role) {
  for (const std::string& id : role_of(before, role).key_ids) {
    auto key = before.keys.find(id);
    if (key == before.keys.end() || !key->second.is_usable()) continue;
    if (!has_key(after, role_of(after, role), key->second.identity())) return true;
  }
  return false;
}

}  // namespace

Result<TrustedSet> TrustedSet::start(ByteView root, int64_t now_s) {
  TrustedSet set;
  set.now_s_ = now_s;
  TRY(Envelope envelope, parse_envelope(root, "root.json"));
  TRY(set.root_, parse_root(envelope));
  TRY_STATUS(verify_role(envelope, "root", role_of(set.root_, "root"), set.root_.keys));
  return set;
}

Status TrustedSet::add_root(ByteView bytes) {
  const std::string object = fmt::format("{}.root.json", root_.version + 1);
  TRY(Envelope envelope, parse_envelope(bytes, object));
  TRY(Root next, parse_root(envelope));
  TRY_STATUS(verify_role(envelope, "root", role_of(root_, "root"), root_.keys));
  TRY_STATUS(verify_role(envelope, "root", role_of(next, "root"), next.keys));
  if (next.version != root_.version + 1)
    return make_error(ErrorCode::untrusted, object,
                      "is of version {}; after {} only {} can be taken", next.version,
                      root_.version, root_.version + 1);
  online_keys_are_rotated_ = online_keys_are_rotated_ || loses_a_key(root_, next, "timestamp") ||
                             loses_a_key(root_, next, "snapshot");
  root_ = std::move(next);
  return ok_status();
}

Status TrustedSet::finish_root() const {
  return check_expiry(root_, now_s_, "root.json");
}

Status TrustedSet::recall_timestamp(ByteView bytes) {
  TRY(Envelope envelope, parse_envelope(bytes, "timestamp.json"));
  TRY(Timestamp before, parse_timestamp(envelope));
  TRY_STATUS(verify_role(envelope, "timestamp", role_of(root_, "timestamp"), root_.keys));
  timestamp_ = std::move(before);
  return ok_status();
}

Status TrustedSet::check_rollback(const Timestamp& next) const {
  if (!timestamp_) return ok_status();
  if (next.version < timestamp_->version)
    return make_error(ErrorCode::untrusted, "timestamp.json",
                      "is of version {}, older than version {} that was seen before", next.version,
                      timestamp_->version);
  if (next.snapshot.version < timestamp_->snapshot.version)
    return make_error(ErrorCode::untrusted, "timestamp.json",
                      "names version {} of snapshot.json, older than version {} that was named "
                      "before",
                      next.snapshot.version, timestamp_->snapshot.version);
  return ok_status();
}

Result<Taken> TrustedSet::add_timestamp(ByteView bytes) {
  TRY(Envelope envelope, parse_envelope(bytes, "timestamp.json"));
  TRY(Timestamp next, parse_timestamp(envelope));
  TRY_STATUS(verify_role(envelope, "timestamp", role_of(root_, "timestamp"), root_.keys));
  if (timestamp_ && next.version == timestamp_->version) return Taken::already_trusted;
  TRY_STATUS(check_rollback(next));
  TRY_STATUS(check_expiry(next, now_s_, "timestamp.json"));
  timestamp_ = std::move(next);
  return Taken::newer;
}

Status TrustedSet::finish_timestamp() const {
  LIVECARE_ASSERT(timestamp_);
  return check_expiry(*timestamp_, now_s_, "timestamp.json");
}

Status TrustedSet::recall_snapshot(ByteView bytes) {
  LIVECARE_ASSERT(timestamp_);
  TRY(Envelope envelope, parse_envelope(bytes, "snapshot.json"));
  TRY(Snapshot before, parse_snapshot(envelope));
  TRY_STATUS(verify_role(envelope, "snapshot", role_of(root_, "snapshot"), root_.keys));
  snapshot_is_current_ =
      before.version == timestamp_->snapshot.version &&
      check_described(bytes, timestamp_->snapshot, "snapshot.json", "timestamp.json").ok();
  snapshot_ = std::move(before);
  return ok_status();
}

Status TrustedSet::check_rollback(const Snapshot& next) const {
  if (!snapshot_) return ok_status();
  for (const auto& [name, before] : snapshot_->files) {
    auto now = next.files.find(name);
    if (now == next.files.end())
      return make_error(ErrorCode::untrusted, "snapshot.json",
                        "no longer names {}, which the snapshot before it did", name);
    if (now->second.version < before.version)
      return make_error(ErrorCode::untrusted, "snapshot.json",
                        "names version {} of {}, older than version {} that was named before",
                        now->second.version, name, before.version);
  }
  return ok_status();
}

Status TrustedSet::add_snapshot(ByteView bytes) {
  LIVECARE_ASSERT(timestamp_);
  TRY_STATUS(check_described(bytes, timestamp_->snapshot, "snapshot.json", "timestamp.json"));
  TRY(Envelope envelope, parse_envelope(bytes, "snapshot.json"));
  TRY(Snapshot next, parse_snapshot(envelope));
  TRY_STATUS(verify_role(envelope, "snapshot", role_of(root_, "snapshot"), root_.keys));
  TRY_STATUS(check_version(next.version, timestamp_->snapshot, "snapshot.json", "timestamp.json"));
  TRY_STATUS(check_rollback(next));
  TRY_STATUS(check_expiry(next, now_s_, "snapshot.json"));
  snapshot_ = std::move(next);
  snapshot_is_current_ = true;
  return ok_status();
}

Status TrustedSet::finish_snapshot() const {
  LIVECARE_ASSERT(snapshot_ && snapshot_is_current_);
  return check_expiry(*snapshot_, now_s_, "snapshot.json");
}

const MetaFile* TrustedSet::described(const std::string& role) const {
  LIVECARE_ASSERT(snapshot_ && snapshot_is_current_);
  auto found = snapshot_->files.find(role + ".json");
  return found == snapshot_->files.end() ? nullptr : &found->second;
}

Status TrustedSet::add_targets(ByteView bytes, const std::string& role,
                               const Delegator& delegator) {
  const std::string object = role + ".json";
  const MetaFile* file = described(role);
  if (file == nullptr)
    return make_error(ErrorCode::untrusted, object, "is not named by snapshot.json");
  TRY_STATUS(check_described(bytes, *file, object, "snapshot.json"));
  TRY(Envelope envelope, parse_envelope(bytes, object));
  TRY(Targets next, parse_targets(envelope));
  const bool is_top = role == "targets";
  const RoleKeys& keys = is_top ? role_of(root_, role) : *delegator.role;
  TRY_STATUS(verify_role(envelope, role, keys, is_top ? root_.keys : *delegator.keys));
  TRY_STATUS(check_version(next.version, *file, object, "snapshot.json"));
  TRY_STATUS(check_expiry(next, now_s_, object));
  targets_.insert_or_assign(role, std::move(next));
  return ok_status();
}

const Targets* TrustedSet::targets(const std::string& role) const {
  auto found = targets_.find(role);
  return found == targets_.end() ? nullptr : &found->second;
}

}  // namespace livecare::trust::tuf
