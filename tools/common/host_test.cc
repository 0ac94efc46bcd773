#include "tools/common/host.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace stowage {
namespace {

using Files = std::map<std::string, std::string>;

// What ReadHostFacts finds where "/" holds these files.
std::optional<Bytes> AvailableWith(const Files& files) {
  std::string name = testing::TempDir() + "stowage_root_XXXXXX";
  const std::string root = std::string(mkdtemp(name.data())) + "/";
  for (const auto& [file, text] : files) {
    std::filesystem::create_directories(std::filesystem::path(root + file).parent_path());
    std::ofstream(root + file) << text;
  }
  const HostFacts facts = ReadHostFacts(root);
  std::filesystem::remove_all(root);
  return facts.available;
}

const std::string kMeminfo = "MemTotal:       24684092 kB\nMemFree:        1000 kB\nMemAvailable:   20000000 kB\n";

TEST(HostFacts, WithoutLimitsItIsMemAvailable) {
  EXPECT_EQ(AvailableWith(Files{{"proc/meminfo", kMeminfo}}), Bytes(20'480'000'000));
  EXPECT_EQ(AvailableWith(Files{{"proc/meminfo", kMeminfo},
                                {"proc/self/cgroup", "0::/user.slice\n"},
                                {"sys/fs/cgroup/user.slice/memory.max", "max\n"},
                                {"sys/fs/cgroup/user.slice/memory.current", "5000\n"}}),
            Bytes(20'480'000'000));
  EXPECT_EQ(AvailableWith(Files{{"proc/meminfo", kMeminfo},
                                {"proc/self/cgroup", "4:memory:/x\n"},
                                {"sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"},
                                {"sys/fs/cgroup/memory/x/memory.usage_in_bytes", "5000\n"}}),
            Bytes(20'480'000'000));
}

TEST(HostFacts, AGroupOfVersionTwoLeavesItsLimitLessWhatItCannotGiveBack) {
  EXPECT_EQ(AvailableWith(
                Files{{"proc/meminfo", kMeminfo},
                      {"proc/self/cgroup", "0::/a/b\n"},
                      {"sys/fs/cgroup/a/b/memory.max", "8000000000\n"},
                      {"sys/fs/cgroup/a/b/memory.current", "3000000000\n"},
                      {"sys/fs/cgroup/a/b/memory.stat", "anon 1000000000\ninactive_file 2000000000\nactive_file 7\n"}}),
            Bytes(7'000'000'000));
}

TEST(HostFacts, AParentsLimitCountsToo) {
  EXPECT_EQ(AvailableWith(Files{{"proc/meminfo", kMeminfo},
                                {"proc/self/cgroup", "0::/a/b\n"},
                                {"sys/fs/cgroup/a/b/memory.max", "max\n"},
                                {"sys/fs/cgroup/a/b/memory.current", "1\n"},
                                {"sys/fs/cgroup/a/memory.max", "4000000000\n"},
                                {"sys/fs/cgroup/a/memory.current", "1000000000\n"}}),
            Bytes(3'000'000'000));
}

TEST(HostFacts, AGroupOfVersionOneIsFoundAmongOtherControllers) {
  EXPECT_EQ(
      AvailableWith(Files{{"proc/meminfo", kMeminfo},
                          {"proc/self/cgroup", "9:name=systemd:/\n5:cpu,memory:/docker/1\n3:cpuset:/\n"},
                          {"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "2000000000\n"},
                          {"sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", "900000000\n"},
                          {"sys/fs/cgroup/memory/docker/1/memory.stat", "cache 7\ntotal_inactive_file 400000000\n"}}),
      Bytes(1'500'000'000));
}

// In a container the path in /proc/self/cgroup is the host's; the mount itself is the container's group.
TEST(HostFacts, AContainerSeesItsLimitAtTheMount) {
  EXPECT_EQ(AvailableWith(Files{{"proc/meminfo", kMeminfo},
                                {"proc/self/cgroup", "0::/../../kubepods/pod7\n"},
                                {"sys/fs/cgroup/memory.max", "1000000000\n"},
                                {"sys/fs/cgroup/memory.current", "2000000000\n"}}),
            Bytes(0));
}

TEST(HostFacts, KnowsNothingWhereProcSaysNothing) {
  EXPECT_EQ(AvailableWith(Files{}), std::nullopt);
  EXPECT_EQ(AvailableWith(Files{{"proc/meminfo", "MemAvailable: lots kB\n"}}), std::nullopt);
}

TEST(FreeDiskSpace, NamesAFolderThatIsNotThere) {
  EXPECT_TRUE(FreeDiskSpace("."));
  EXPECT_EQ(FreeDiskSpace("/no/such/folder").error().message,
            "'/no/such/folder': cannot read its free space: No such file or directory");
}

}  // namespace
}  // namespace stowage
