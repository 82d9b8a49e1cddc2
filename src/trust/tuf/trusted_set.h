// What a client holds to be true in one update: root, timestamp, snapshot and targets, each taken
// in only after the checks of section 5 of the specification. No input or output: bytes go in, an
// error or a changed state comes out, so that every attack is a unit test. trust/tuf/updater.h
// drives it. Errors: untrusted (signature, rollback, freeze, mix-and-match), invalid_input (not
// metadata), unsupported. After an error the set is as it was before. Not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "trust/tuf/metadata.h"

namespace livecare::trust::tuf {

enum class Taken {
  newer,            // it is what is trusted from now on
  already_trusted,  // of the version that is trusted; dropped without an error
};

struct Delegator {
  const RoleKeys* role = nullptr;
  const KeyMap* keys = nullptr;
};

class TrustedSet {
 public:
  // From the root that this host trusts already; its expiry does not matter yet. `now_s` is the
  // fixed start time of the update, in seconds since 1970.
  static Result<TrustedSet> start(ByteView root, int64_t now_s);

  const Root& root() const { return root_; }
  // 5.3.3 to 5.3.7: the next version, signed by the keys of this one and by its own.
  Status add_root(ByteView bytes);
  // Whether a key of the timestamp or the snapshot that was trusted at the start no longer is: then
  // what they signed before must be forgotten (5.3.11).
  bool online_keys_are_rotated() const { return online_keys_are_rotated_; }
  // 5.3.10: no further root follows; refuses an expired one.
  Status finish_root() const;

  // What this host took in an earlier update. Only the signatures are checked: it is there to
  // compare with, and has no word of its own before finish_timestamp().
  Status recall_timestamp(ByteView bytes);
  Result<Taken> add_timestamp(ByteView bytes);
  // That the trusted timestamp has not expired, be it the one of before.
  Status finish_timestamp() const;
  const Timestamp* timestamp() const { return timestamp_ ? &*timestamp_ : nullptr; }

  Status recall_snapshot(ByteView bytes);
  // Whether the recalled one is the very file that the timestamp names.
  bool snapshot_is_current() const { return snapshot_is_current_; }
  Status add_snapshot(ByteView bytes);
  Status finish_snapshot() const;
  const Snapshot* snapshot() const { return snapshot_ ? &*snapshot_ : nullptr; }

  // What the snapshot says of a role of targets; null when it does not know it.
  const MetaFile* described(const std::string& role) const;
  // A role of targets, top-level or delegated, recalled or fetched: the same checks (5.6.2
  // to 5.6.5). `delegator` is ignored for the top-level one.
  Status add_targets(ByteView bytes, const std::string& role, const Delegator& delegator);
  // Null before add_targets. Valid until the set goes.
  const Targets* targets(const std::string& role) const;

 private:
  Status check_rollback(const Timestamp& next) const;
  Status check_rollback(const Snapshot& next) const;

  int64_t now_s_ = 0;
  Root root_;
  bool online_keys_are_rotated_ = false;
  std::optional<Timestamp> timestamp_;
  std::optional<Snapshot> snapshot_;
  bool snapshot_is_current_ = false;
  std::map<std::string, Targets> targets_;
};

}  // namespace livecare::trust::tuf
