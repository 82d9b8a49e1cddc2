#include "trust/tuf/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trust/tuf/signatures.h"
#include "trust/tuf/test_repository.h"

namespace livecare::trust::tuf {

namespace {

using ::testing::HasSubstr;

Result<Envelope> read_envelope(const Json& body) {
  Json file = {{"signed", body}, {"signatures", Json::array()}};
  return parse_envelope(ByteView(std::string_view(file.dump())), "x.json");
}

Envelope envelope_of(const Json& body) {
  return read_envelope(body).value();
}

class Metadata : public ::testing::Test {
 protected:
  TestRepository repository_;
};

// The error of a root that a test has changed.
std::string root_error(const TestRepository& repository, const std::function<void(Json&)>& change) {
  Json body = to_json(repository.root);
  change(body);
  auto envelope = read_envelope(body);
  if (!envelope.ok()) return envelope.error().text();
  auto root = parse_root(*envelope);
  return root.ok() ? "" : root.error().text();
}

std::string targets_error(const Json& delegations) {
  Json body = to_json(Targets());
  body["delegations"] = delegations;
  auto targets = parse_targets(envelope_of(body));
  return targets.ok() ? "" : targets.error().text();
}

}  // namespace

TEST_F(Metadata, ComesBackWithWhatWeDoNotKnow) {
  Json body = to_json(repository_.root);
  body["x-maker"] = {{"a", 1}};
  Root root = parse_root(envelope_of(body)).value();
  EXPECT_EQ(to_json(root), body);
  repository_.delegate("role", {"a/*"}, true);
  repository_.add_target(repository_.targets, "f", "content");
  repository_.targets.files["f"].custom = {{"feed", "main"}};
  body = to_json(repository_.targets);
  EXPECT_EQ(to_json(parse_targets(envelope_of(body)).value()), body);
  body = to_json(repository_.snapshot);
  EXPECT_EQ(to_json(parse_snapshot(envelope_of(body)).value()), body);
  body = to_json(repository_.timestamp);
  EXPECT_EQ(to_json(parse_timestamp(envelope_of(body)).value()), body);
}

TEST_F(Metadata, ARootNamesFourRolesAndIsWhatItSays) {
  auto without = [&](const char* name) {
    return root_error(repository_, [&](Json& body) { body.erase(name); });
  };
  for (const char* name : {"_type", "spec_version", "version", "expires", "keys", "roles"})
    EXPECT_THAT(without(name), HasSubstr(name));
  EXPECT_EQ(without("consistent_snapshot"), "");
  EXPECT_THAT(root_error(repository_, [](Json& body) { body["roles"].erase("timestamp"); }),
              HasSubstr("x.json: has no role timestamp"));
  EXPECT_THAT(root_error(repository_, [](Json& body) { body["_type"] = "targets"; }),
              HasSubstr("is targets metadata, not root"));
  EXPECT_THAT(root_error(repository_, [](Json& body) { body["spec_version"] = "2.0"; }),
              HasSubstr("update it"));
  for (Json version : {Json(0), Json(-1), Json("1"), Json(1.5), Json(true)})
    EXPECT_THAT(root_error(repository_, [&](Json& body) { body["version"] = version; }),
                ::testing::AnyOf(HasSubstr("\"version\""), HasSubstr("integer")));
}

TEST_F(Metadata, KeysOfARoleAreDistinctAndAtLeastOneMustSign) {
  auto change = [&](const char* name, const Json& value) {
    return root_error(repository_, [&](Json& body) { body["roles"]["root"][name] = value; });
  };
  EXPECT_THAT(change("threshold", 0), HasSubstr("\"threshold\""));
  EXPECT_THAT(change("keyids", {"a", "a"}), HasSubstr("names a key twice"));
  EXPECT_EQ(change("keyids", {"a", "b"}), "");  // of keys that are nowhere: they verify nothing
}

TEST_F(Metadata, TwoSignaturesByOneKeyIdAreRefused) {
  Json file = Json::parse(repository_.root_file());
  file["signatures"].push_back(file["signatures"][0]);
  auto envelope = parse_envelope(ByteView(std::string_view(file.dump())), "x.json");
  ASSERT_FALSE(envelope.ok());
  EXPECT_THAT(envelope.error().text(), HasSubstr("is signed twice by the key ID"));
}

TEST_F(Metadata, DelegationsAreOneThingOrTheOther) {
  Json keys = Json::object();
  Json role = {{"name", "a"},
               {"keyids", Json::array()},
               {"threshold", 1},
               {"terminating", false},
               {"paths", {"*"}}};
  auto with = [&](const char* name, const Json& value) {
    Json changed = role;
    changed[name] = value;
    return targets_error({{"keys", keys}, {"roles", {changed}}});
  };
  EXPECT_EQ(with("paths", {"x"}), "");
  EXPECT_THAT(with("path_hash_prefixes", {"00"}), HasSubstr("stands beside"));
  EXPECT_THAT(with("name", "root"), HasSubstr("\"name\""));
  EXPECT_THAT(with("name", ""), HasSubstr("\"name\""));
  EXPECT_THAT(targets_error({{"keys", keys}, {"roles", {role, role}}}), HasSubstr("twice: a"));
  EXPECT_THAT(targets_error({{"keys", keys}}), HasSubstr("succinct_roles"));
  Json succinct = {
      {"keyids", Json::array()}, {"threshold", 1}, {"bit_length", 33}, {"name_prefix", "bin"}};
  EXPECT_THAT(targets_error({{"keys", keys}, {"succinct_roles", succinct}}),
              HasSubstr("\"bit_length\""));
}

// The same key under three IDs signs three times: one signer.
TEST(Threshold, CountsKeysNotKeyIds) {
  SigningKey key = SigningKey::generate(Scheme::ed25519).value();
  SigningKey other = SigningKey::generate(Scheme::ed25519).value();
  Envelope envelope = envelope_of({{"a", 1}});
  const ByteView message{std::string_view(envelope.signed_bytes)};
  KeyMap keys;
  RoleKeys role{{}, 2};
  for (const char* id : {"one", "two", "three"}) {
    Json json = key.key().json();
    json["x-note"] = id;
    keys.emplace(id, Key::parse(json, "x.json").value());
    role.key_ids.push_back(id);
    envelope.signatures.push_back({id, key.sign(message).value()});
  }
  Status status = verify_role(envelope, "root", role, keys);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::untrusted);
  EXPECT_THAT(status.error().text(), HasSubstr("signed by 1 of the 2 keys of the role root"));
  // A second key that the role does not name is no help, one that it names is.
  keys.emplace("other", other.key());
  envelope.signatures.push_back({"other", other.sign(message).value()});
  EXPECT_FALSE(verify_role(envelope, "root", role, keys).ok());
  role.key_ids.push_back("other");
  EXPECT_TRUE(verify_role(envelope, "root", role, keys).ok());
}

TEST(Threshold, AWrongSignatureDoesNotHarmARightOne) {
  SigningKey key = SigningKey::generate(Scheme::ed25519).value();
  SigningKey other = SigningKey::generate(Scheme::ed25519).value();
  Envelope envelope = envelope_of({{"a", 1}});
  const ByteView message{std::string_view(envelope.signed_bytes)};
  KeyMap keys = {{"a", key.key()}, {"b", other.key()}};
  RoleKeys role{{"b", "a"}, 1};
  envelope.signatures = {{"b", {}}, {"a", key.sign(message).value()}};
  EXPECT_TRUE(verify_role(envelope, "root", role, keys).ok());
  envelope.signed_bytes += ' ';
  EXPECT_FALSE(verify_role(envelope, "root", role, keys).ok());
}

}  // namespace livecare::trust::tuf
