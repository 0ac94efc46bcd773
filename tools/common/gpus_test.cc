#include "tools/common/gpus.h"

#include <gtest/gtest.h>

namespace stowage {
namespace {

TEST(Gpus, ACardIsItsRowWithWhatIsFree) {
  EXPECT_EQ(GpuTextOf({"NVIDIA H200", Bytes(150'109'106'995), Bytes(149'000'000'000)}), "h200:149000000000");
  EXPECT_EQ(GpuTextOf({"Tesla T4", Bytes(15'655'239'680), std::nullopt}), "t4:15655239680");
  // A driver that shows more than any seen before: the table's highest total is what a plan may have.
  EXPECT_EQ(GpuTextOf({"Tesla T4", Bytes(16'000'000'000), std::nullopt}), "t4:15842934784");
  EXPECT_EQ(GpuTextOf({"NVIDIA GeForce RTX 4090 Laptop GPU", Bytes(17'000'000'000), Bytes(16'000'000'000)}),
            "generic:16000000000");
}

TEST(Gpus, WithoutADriverTheReasonIsNamed) {
  const auto gpus = DetectGpus({.cuda = "libno-such-driver.so.1", .management = "libno-such-management.so.1"});
  ASSERT_FALSE(gpus);
  EXPECT_EQ(gpus.error().code, ErrorCode::kDevice);
  EXPECT_EQ(gpus.error().message,
            "gpu 'auto': the NVIDIA driver's libno-such-driver.so.1 cannot be used: libno-such-driver.so.1: cannot "
            "open shared object file: No such file or directory; say --gpu 15GB or --gpu t4");
}

TEST(Gpus, ALibraryThatIsNoDriverIsRefused) {
  const auto gpus = DetectGpus({.cuda = "libc.so.6"});
  ASSERT_FALSE(gpus);
  EXPECT_EQ(gpus.error().message,
            "gpu 'auto': the NVIDIA driver's libc.so.6 cannot be used: it has no cuInit; say --gpu 15GB or --gpu t4");
}

}  // namespace
}  // namespace stowage
