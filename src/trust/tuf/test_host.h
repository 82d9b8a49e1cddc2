// A host in a temporary directory that trusts the first root of a TestRepository.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/file_system.h"
#include "trust/tuf/test_repository.h"
#include "trust/tuf/updater.h"

namespace livecare::trust::tuf {

class TestHost : public ::testing::Test {
 protected:
  TestHost() : directory_(TemporaryDirectory::make().value()) { EXPECT_TRUE(init().ok()); }

  std::filesystem::path metadata() const { return directory_.path() / "metadata"; }
  std::filesystem::path targets() const { return directory_.path() / "targets"; }

  Status init() {
    return Updater::init(metadata(), ByteView(std::string_view(repository_.root_file())));
  }
  Updater open() { return Updater::open(metadata(), repository_, now_s_, limits_).value(); }
  Status refresh() {
    repository_.requests.clear();
    return open().refresh();
  }
  void expect_untrusted(const std::string& words) {
    Status status = refresh();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::untrusted) << status.error().text();
    EXPECT_THAT(status.error().text(), ::testing::HasSubstr(words));
  }

  // 0: not trusted at all.
  uint64_t version(const std::string& role) const {
    auto file = read_file(metadata() / (role + ".json"));
    if (!file.ok()) return 0;
    return parse_envelope(*file, role).value().body.at("version").get<uint64_t>();
  }

  // The content of a target as it came to this host, or the error.
  std::string download(const std::string& path) {
    repository_.requests.clear();
    Updater updater = open();
    Status status = updater.refresh();
    if (!status.ok()) return status.error().text();
    auto found = updater.find(path);
    if (!found.ok()) return found.error().text();
    if (!*found) return "nobody knows it";
    auto file = updater.download(**found, targets());
    return file.ok() ? read_text(*file).value() : file.error().text();
  }

  TestRepository repository_;
  TemporaryDirectory directory_;
  int64_t now_s_ = test_now_s;
  Limits limits_;
};

}  // namespace livecare::trust::tuf
