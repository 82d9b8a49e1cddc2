#include "builder/build_root.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file_system.h"

namespace livecare::builder {
namespace {

TEST(BuildRoot, ThisMachineRunsAsItIs) {
  auto done = run(BuildRoot().command({"sh", "-c", "exit 7"}, {"/nowhere"}));
  ASSERT_TRUE(done.ok()) << done.error().text();
  EXPECT_EQ(done->exit_code, 7);
}

TEST(BuildRoot, OneThatWasNotFinishedIsNone) {
  auto cache = TemporaryDirectory::make();
  ASSERT_TRUE(cache.ok());
  auto opened = BuildRoot::open(cache->path(), "sid");
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, ErrorCode::not_found);
}

// Nothing of this machine is in the tree but what is bound. As another user than root no name space
// can be made, and the error says so.
TEST(BuildRoot, ATreeSeesWhatIsBound) {
  auto cache = TemporaryDirectory::make();
  ASSERT_TRUE(cache.ok());
  std::filesystem::path root = cache->path() / "roots/sid/root";
  for (const char* part : {"proc", "dev", "bin", "lib", "lib64", "usr"})
    std::filesystem::create_directories(root / part);
  ASSERT_TRUE(write_file_atomic(cache->path() / "roots/sid/ready", {}).ok());
  ASSERT_TRUE(write_file_atomic(cache->path() / "shared/file", ByteView("seen")).ok());
  ASSERT_TRUE(write_file_atomic(cache->path() / "apart/file", ByteView("unseen")).ok());
  auto opened = BuildRoot::open(cache->path(), "sid");
  ASSERT_TRUE(opened.ok());
  std::string shared = cache->path() / "shared", apart = cache->path() / "apart";
  Command command = opened->command({"/bin/sh", "-c", "cat " + shared + "/file; ls " + apart},
                                    {"/bin", "/lib", "/lib64", "/usr", shared});
  auto done = run(command);
  if (::geteuid() != 0 && !done.ok()) return;
  ASSERT_TRUE(done.ok()) << done.error().text();
  EXPECT_EQ(done->output, "seen");
  EXPECT_NE(done->exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(root / "proc/self"));
}

}  // namespace
}  // namespace livecare::builder
