// The order of the downloads, and what is kept of them when. trusted_set.cc says why the checks are
// as they are; here is what makes a cycle safe to end at any instruction.
//
// Each file is written as soon as it is trusted and before the next one is asked for. So a cycle
// that was killed, or met an error, leaves a state that an uninterrupted one passes through too,
// and the next cycle starts from there: a timestamp without its snapshot only means that the
// snapshot is fetched again.
//
// One order is not the specification's. It forgets timestamp and snapshot after the last root was
// taken; a process killed between writing that root and forgetting would never forget, since the
// next cycle sees no rotation any more, and the host could not leave a fast-forward attack. Here
// they are removed before the root that rotates their keys is written. Nothing is lost by it: that
// root has been verified already.
#include "trust/tuf/updater.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "trust/tuf/delegation.h"
#include "trust/tuf/sinks.h"
#include "trust/tuf/target_download.h"

namespace livecare::trust::tuf {

namespace {

Error in_conflict(const Store& store, uint64_t version) {
  return make_error(ErrorCode::conflict, store.directory().native(),
                    "trusts version {} of another root already; remove the directory to start anew",
                    version);
}

}  // namespace

Status Updater::init(const std::filesystem::path& directory, ByteView root) {
  TRY(TrustedSet given, TrustedSet::start(root, 0));
  TRY(Store store, Store::open(directory));
  TRY(auto kept, store.read("root", Limits().root_bytes_max));
  if (!kept) return store.write("root", root);
  if (ByteView(*kept) == root) return ok_status();
  TRY(TrustedSet before, TrustedSet::start(*kept, 0));
  return in_conflict(store, before.root().version);
}

Result<Updater> Updater::open(const std::filesystem::path& directory, Fetcher& fetcher,
                              int64_t now_s, const Limits& limits) {
  TRY(Store store, Store::open(directory));
  return Updater(std::move(store), fetcher, now_s, limits);
}

Status Updater::refresh() {
  TRY_STATUS(load_root());
  TRY_STATUS(update_root());
  TRY_STATUS(update_timestamp());
  TRY_STATUS(update_snapshot());
  return update_targets("targets", {});
}

Status Updater::load_root() {
  TRY(auto kept, store_.read("root", limits_.root_bytes_max));
  if (!kept)
    return make_error(ErrorCode::not_found, store_.directory().native(),
                      "holds no root.json, so nobody's signature counts; give it the root that the "
                      "maker published (init)");
  TRY(trusted_, TrustedSet::start(*kept, now_s_));
  return ok_status();
}

Status Updater::update_root() {
  for (uint32_t taken = 0; taken < limits_.root_rotations_max; ++taken) {
    auto next = fetch_metadata("root", trusted_->root().version + 1, limits_.root_bytes_max);
    if (!next.ok() && next.error().code == ErrorCode::not_found) break;
    if (!next.ok()) return next.take_error();
    TRY_STATUS(trusted_->add_root(*next));
    if (trusted_->online_keys_are_rotated()) {
      TRY_STATUS(store_.remove("timestamp"));
      TRY_STATUS(store_.remove("snapshot"));
    }
    TRY_STATUS(store_.write("root", *next));
  }
  return trusted_->finish_root();
}

template <class Take>
Status Updater::recall(const std::string& role, uint64_t bytes_max, Take take) {
  TRY(auto kept, store_.read(role, bytes_max));
  if (!kept) return ok_status();
  Status taken = take(ByteView(*kept));
  if (!taken.ok())
    log(LogLevel::debug, "{} of before is not used: {}", role, taken.error().message);
  return ok_status();
}

Status Updater::update_timestamp() {
  TRY_STATUS(recall("timestamp", limits_.timestamp_bytes_max,
                    [&](ByteView kept) { return trusted_->recall_timestamp(kept); }));
  TRY(Bytes bytes, fetch_metadata("timestamp", std::nullopt, limits_.timestamp_bytes_max));
  TRY(Taken outcome, trusted_->add_timestamp(bytes));
  if (outcome == Taken::newer) return store_.write("timestamp", bytes);
  // Nothing new. The rest of the cycle finds its files on this host, unless the cycle before did
  // not come to its end.
  return trusted_->finish_timestamp();
}

Status Updater::update_snapshot() {
  TRY_STATUS(recall("snapshot", limits_.snapshot_bytes_max,
                    [&](ByteView kept) { return trusted_->recall_snapshot(kept); }));
  if (trusted_->snapshot_is_current()) return trusted_->finish_snapshot();
  const MetaFile& file = trusted_->timestamp()->snapshot;
  TRY(Bytes bytes, fetch_described("snapshot", file, limits_.snapshot_bytes_max));
  TRY_STATUS(trusted_->add_snapshot(bytes));
  return store_.write("snapshot", bytes);
}

Status Updater::update_targets(const std::string& role, const Delegator& delegator) {
  bool is_recalled = false;
  auto take = [&](ByteView kept) {
    Status status = trusted_->add_targets(kept, role, delegator);
    is_recalled = status.ok();
    return status;
  };
  TRY_STATUS(recall(role, limits_.targets_bytes_max, take));
  if (is_recalled) return ok_status();
  const MetaFile* file = trusted_->described(role);
  if (file == nullptr)
    return make_error(ErrorCode::untrusted, role + ".json",
                      "is delegated to, but snapshot.json does not name it");
  TRY(Bytes bytes, fetch_described(role, *file, limits_.targets_bytes_max));
  TRY_STATUS(trusted_->add_targets(bytes, role, delegator));
  return store_.write(role, bytes);
}

Result<std::optional<FoundTarget>> Updater::find(const std::string& path) {
  LIVECARE_ASSERT(trusted_ && trusted_->targets("targets") != nullptr);
  Walk walk{path, {}, {}};
  TRY(Search outcome, search("targets", {}, walk));
  static_cast<void>(outcome);
  return walk.found;
}

// Pre-order and depth first. A role is loaded under the delegator that led here, even if an earlier
// search loaded it under another one: the keys that must have signed are the delegator's.
Result<Updater::Search> Updater::search(const std::string& role, const Delegator& delegator,
                                        Walk& walk) {
  if (walk.visited.size() >= limits_.roles_visited_max) return Search::stop;
  if (!walk.visited.insert(role).second) return Search::nothing;
  if (role != "targets") {
    TRY_STATUS(update_targets(role, delegator));
  }
  const Targets& targets = *trusted_->targets(role);
  if (auto file = targets.files.find(walk.path); file != targets.files.end()) {
    walk.found = FoundTarget{walk.path, role, file->second};
    return Search::found;
  }
  for (const RoleForPath& next : roles_for_path(targets.delegations, walk.path)) {
    TRY(Search outcome, search(next.name, {next.keys, &targets.delegations.keys}, walk));
    if (outcome != Search::nothing) return outcome;
    if (next.terminating) return Search::stop;
  }
  return Search::nothing;
}

Result<std::filesystem::path> Updater::download(const FoundTarget& target,
                                                const std::filesystem::path& directory) {
  if (target.file.bytes > limits_.target_file_bytes_max)
    return make_error(ErrorCode::refused, target.path, "has {} bytes, more than the limit of {}",
                      target.file.bytes, limits_.target_file_bytes_max);
  return download_target(*fetcher_, target.path, target.file, trusted_->root().consistent_snapshot,
                         directory);
}

Result<Bytes> Updater::fetch_metadata(const std::string& role, std::optional<uint64_t> version,
                                      uint64_t bytes_max) {
  std::string name = percent_encode(role) + ".json";
  if (version) name = fmt::format("{}.{}", *version, name);
  MemorySink sink(name, bytes_max);
  TRY_STATUS(fetcher_->fetch(Area::metadata, name, sink));
  return sink.take();
}

Result<Bytes> Updater::fetch_described(const std::string& role, const MetaFile& file,
                                       uint64_t bytes_max) {
  std::optional<uint64_t> version;
  if (trusted_->root().consistent_snapshot) version = file.version;
  return fetch_metadata(role, version, std::min(bytes_max, file.bytes.value_or(bytes_max)));
}

}  // namespace livecare::trust::tuf
