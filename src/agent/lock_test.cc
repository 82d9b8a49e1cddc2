#include "agent/lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "base/file_system.h"

namespace livecare::agent {

TEST(Lock, OneHolderAtATimeAndTheOtherIsToldWho) {
  auto directory = TemporaryDirectory::make();
  ASSERT_TRUE(directory.ok());
  auto path = directory->path() / "run" / "lock";
  std::optional<Lock> first;
  {
    auto taken = Lock::take(path, 0);
    ASSERT_TRUE(taken.ok()) << taken.error().text();
    first.emplace(std::move(taken).value());
  }
  auto second = Lock::take(path, 0);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::busy);
  EXPECT_THAT(second.error().text(), ::testing::HasSubstr(std::to_string(::getpid())));
  first.reset();
  EXPECT_TRUE(Lock::take(path, 0).ok());
}

}  // namespace livecare::agent
