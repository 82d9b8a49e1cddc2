// A repository in memory for tests, with all private keys, so that a test can do what an attacker
// with some of them could. Serves what was published last; a test may replace any file by its name.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "trust/tuf/fetcher.h"
#include "trust/tuf/writer.h"

namespace livecare::trust::tuf {

inline constexpr int64_t test_now_s = 1'800'000'000;
inline constexpr int64_t test_day_s = 24 * 60 * 60;

class TestRepository : public Fetcher {
 public:
  TestRepository() {
    root.consistent_snapshot = true;
    for (Common* common : std::initializer_list<Common*>{&root, &timestamp, &snapshot, &targets})
      common->expires_s = test_now_s + 30 * test_day_s;
    for (const char* role : {"root", "timestamp", "snapshot", "targets"}) rotate(role);
    snapshot.files["targets.json"] = {};
    publish_all();
  }

  // A new key takes the place of all that the role had; takes effect when the root is published.
  void rotate(const std::string& role) {
    signers[role] = {SigningKey::generate(Scheme::ed25519).value()};
    root.roles[role] = {};
    add_key(root.keys, root.roles[role], signers[role][0].key());
  }
  void add_signer(const std::string& role) {
    signers[role].push_back(SigningKey::generate(Scheme::ed25519).value());
    add_key(root.keys, root.roles[role], signers[role].back().key());
  }

  // A delegation from `targets` with a key of its own.
  Targets& delegate(const std::string& name, std::vector<std::string> paths,
                    bool terminating = false) {
    signers[name] = {SigningKey::generate(Scheme::ed25519).value()};
    DelegatedRole role{name, {}, terminating, std::move(paths), {}};
    add_key(targets.delegations.keys, role.keys, signers[name][0].key());
    targets.delegations.roles.push_back(role);
    delegated[name].expires_s = test_now_s + 30 * test_day_s;
    return delegated[name];
  }

  void add_target(Targets& role, const std::string& path, const std::string& content) {
    TargetFile file = describe_target(ByteView(std::string_view(content)));
    role.files[path] = file;
    size_t name = path.rfind('/') + 1;
    std::string prefix = root.consistent_snapshot ? file.digests.at("sha256") + "." : "";
    std::string remote = path.substr(0, name) + prefix + path.substr(name);
    target_files[percent_encode(remote, "/")] = content;
  }

  std::string sign(const std::string& role, const Json& body) {
    auto text = sign_file(body, signers.at(role), role);
    EXPECT_TRUE(text.ok()) << text.error().text();
    return text.ok() ? *text : "";
  }

  void publish_root() { put("root", root.version, sign("root", to_json(root))); }
  void publish_targets() {
    for (auto& [name, role] : delegated) {
      std::string text = sign(name, to_json(role));
      snapshot.files[name + ".json"] = meta(text, role.version);
      put(name, role.version, text);
    }
    std::string text = sign("targets", to_json(targets));
    snapshot.files["targets.json"] = meta(text, targets.version);
    put("targets", targets.version, text);
  }
  void publish_snapshot() {
    std::string text = sign("snapshot", to_json(snapshot));
    timestamp.snapshot = meta(text, snapshot.version);
    put("snapshot", snapshot.version, text);
  }
  void publish_timestamp() {
    metadata_files["timestamp.json"] = sign("timestamp", to_json(timestamp));
  }
  void publish_all() {
    publish_root();
    publish_targets();
    publish_snapshot();
    publish_timestamp();
  }
  // The next version of everything but the root.
  void publish_next() {
    targets.version++;
    snapshot.version++;
    timestamp.version++;
    publish_targets();
    publish_snapshot();
    publish_timestamp();
  }

  std::string root_file(uint64_t version = 1) {
    return metadata_files.at(fmt::format("{}.root.json", version));
  }

  Status fetch(Area area, const std::string& path, FetchSink& sink) override {
    requests.push_back(path);
    auto& files = area == Area::metadata ? metadata_files : target_files;
    auto file = files.find(path);
    TRY_STATUS(sink.begin());
    if (is_endless) return send_without_end(sink);
    if (file == files.end()) return make_error(ErrorCode::not_found, path, "HTTP 404");
    return sink.write(ByteView(std::string_view(file->second)));
  }

  Root root;
  Timestamp timestamp;
  Snapshot snapshot;
  Targets targets;
  std::map<std::string, Targets> delegated;
  std::map<std::string, std::vector<SigningKey>> signers;
  std::map<std::string, std::string> metadata_files, target_files;
  std::vector<std::string> requests;
  bool has_hashes = true;
  bool is_endless = false;
  uint64_t endless_bytes = 0;  // how much of it was taken

 private:
  MetaFile meta(const std::string& text, uint64_t version) const {
    if (!has_hashes) return {version, {}, {}};
    return describe(ByteView(std::string_view(text)), version);
  }

  void put(const std::string& role, uint64_t version, const std::string& text) {
    const std::string name = percent_encode(role) + ".json";
    bool is_plain = role != "root" && !root.consistent_snapshot;
    metadata_files[is_plain ? name : fmt::format("{}.{}", version, name)] = text;
  }

  Status send_without_end(FetchSink& sink) {
    const std::string piece(4096, ' ');
    for (;;) {
      TRY_STATUS(sink.write(ByteView(std::string_view(piece))));
      endless_bytes += piece.size();
      LIVECARE_ASSERT(endless_bytes < (uint64_t{1} << 30));
    }
  }
};

}  // namespace livecare::trust::tuf
