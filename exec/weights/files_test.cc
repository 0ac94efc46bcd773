#include "exec/weights/files.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace stowage {
namespace {

std::string MakeFile(const char* name, const std::string& bytes) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(WeightFiles, ReadsFromAnOffsetIntoPlace) {
  const auto files = WeightFiles::Open({MakeFile("one", "abcdefgh")});
  ASSERT_TRUE(files);
  std::array<std::byte, 3> to{};
  ASSERT_TRUE(files->Read(0, 4, to, "w"));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(to.data()), 3), "efg");
}

TEST(WeightFiles, NamesAFileThatIsNotThere) {
  const auto files = WeightFiles::Open({testing::TempDir() + "none"});
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().message, testing::TempDir() + "none: No such file or directory");
}

TEST(WeightFiles, SaysWhatAShortFileLacks) {
  const std::string path = MakeFile("short", "abcdefgh");
  const auto files = WeightFiles::Open({path});
  ASSERT_TRUE(files);
  std::array<std::byte, 6> to{};
  const Status status = files->Read(0, 5, to, "model.norm.weight");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_EQ(status.error().message,
            "model.norm.weight: " + path + " at offset 5: wanted 6 bytes, got 3: the file ends early");
}

TEST(WeightFiles, NoticesAFileThatGrewAfterItWasOpened) {
  const std::string path = MakeFile("grown", "abcdefgh");
  const auto files = WeightFiles::Open({path});
  ASSERT_TRUE(files);
  std::filesystem::resize_file(path, 9);
  std::array<std::byte, 2> to{};
  const Status status = files->Read(0, 0, to, "w");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "w: " + path + " at offset 0: the file changed while it was being read (size 8 when opened, 9 now)");
}

}  // namespace
}  // namespace stowage
