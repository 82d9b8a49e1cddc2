// The maker's side of update metadata: values to JSON, JSON to signed files, files to a repository
// that any web server can serve. What is written is read back through the client's own reader
// first, so that nothing goes out that hosts would refuse. Pure except for RepositoryWriter.
//
// The order of a release, each step possible on another machine with another key:
//   1. targets (offline): add files, raise the version, sign with as many keys as the root asks
//   for;
//   2. snapshot: describe() every targets file in it, raise the version, sign;
//   3. timestamp: describe() the snapshot in it, raise the version, sign;
//   4. RepositoryWriter: target files, targets, snapshot, timestamp. The timestamp is last: until
//   it is
//      there, hosts see the release before.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trust/tuf/metadata.h"

namespace livecare::trust::tuf {

// Adds the key to those of a role, and to `keys`; twice is once.
void add_key(KeyMap& keys, RoleKeys& role, const Key& key);

Json to_json(const Root& root);
Json to_json(const Timestamp& timestamp);
Json to_json(const Snapshot& snapshot);
Json to_json(const Targets& targets);

// A file with no signature yet. Refuses what a client would not read.
Result<std::string> to_unsigned_file(const Json& body, std::string_view object);
// The same file with this key's signature, which takes the place of one that it made before.
// Signatures of others stay: with a threshold above one, the file travels from holder to holder.
Result<std::string> add_signature(ByteView file, const SigningKey& key, std::string_view object);
Result<std::string> sign_file(const Json& body, const std::vector<SigningKey>& keys,
                              std::string_view object);

MetaFile describe(ByteView file, uint64_t version);
TargetFile describe_target(ByteView content);

// A directory with metadata/ and targets/, as a web server gives it out. Each file is written whole
// or not at all; a version that was published is never overwritten with another content (conflict).
class RepositoryWriter {
 public:
  RepositoryWriter(std::filesystem::path directory, bool is_consistent)
      : directory_(std::move(directory)), is_consistent_(is_consistent) {}

  // Any role; the file's own version gives it its name.
  Status write(const std::string& role, ByteView file);
  // The content of a target, under each of its digests where snapshots are consistent.
  Status write_target(const std::string& path, const TargetFile& file, ByteView content);

 private:
  std::filesystem::path directory_;
  bool is_consistent_;
};

}  // namespace livecare::trust::tuf
