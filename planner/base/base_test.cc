#include <gtest/gtest.h>

#include "planner/base/check.h"
#include "planner/base/nearest.h"
#include "planner/base/result.h"
#include "planner/base/text.h"
#include "planner/base/units.h"

namespace stowage {
namespace {

TEST(Units, DividingBytesByARateGivesSeconds) { EXPECT_DOUBLE_EQ((Bytes(24) / BytesPerSecond(12)).value(), 2.0); }

TEST(Units, RoundsUpToTheAlignment) {
  EXPECT_EQ(RoundUp(Bytes(0), Bytes(256)), Bytes(0));
  EXPECT_EQ(RoundUp(Bytes(1), Bytes(256)), Bytes(256));
  EXPECT_EQ(RoundUp(Bytes(256), Bytes(256)), Bytes(256));
}

TEST(Units, AnAffineSizeGrowsWithTheIteration) { EXPECT_EQ((AffineBytes{100, 8}).at(3), Bytes(124)); }

TEST(Text, WritesBytesInDecimalUnits) {
  EXPECT_EQ(FormatBytes(Bytes(512)), "512 B");
  EXPECT_EQ(FormatBytes(Bytes(16'060'522'496)), "16.06 GB");
  EXPECT_EQ(FormatBytes(Bytes(436'207'616)), "436.2 MB");
  EXPECT_EQ(FormatBytes(Bytes(999'999)), "1.00 MB");
}

TEST(Text, GroupsDigitsByThousands) {
  EXPECT_EQ(FormatCount(8'030'261'248), "8,030,261,248");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatCount(12), "12");
}

TEST(Text, AlignsNumbersToTheRightAndWordsToTheLeft) {
  const std::vector<std::vector<std::string>> rows = {{"name", "bytes"}, {"a", "1"}, {"long", "123456"}};
  EXPECT_EQ(AlignTable(rows), "name   bytes\na          1\nlong  123456\n");
}

TEST(Nearest, CountsInsertionsDeletionsAndReplacements) {
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", "abc"), 0u);
}

TEST(Nearest, IsEmptyWhenNoWordIsNear) {
  const std::vector<std::string_view> words = {"--gpu", "--cpu", "--model"};
  EXPECT_EQ(Nearest("--modle", words), "--model");
  EXPECT_EQ(Nearest("--xpu", words), "--gpu");  // the first of two
  EXPECT_EQ(Nearest("bananas", words), "");
  EXPECT_EQ(Nearest("", words), "");
}

Result<int> Half(int n) {
  if (n % 2 != 0) return Error{ErrorCode::kInvalidInput, std::to_string(n) + " is odd"};
  return n / 2;
}

Result<int> Quarter(int n) {
  STOWAGE_TRY(const int half, Half(n));
  STOWAGE_TRY(const int quarter, Half(half));
  return quarter;
}

TEST(Result, TryPassesTheErrorUpAndInAddsThePlace) {
  EXPECT_EQ(*Quarter(12), 3);
  Result<int> bad = Quarter(6);
  ASSERT_FALSE(bad);
  EXPECT_EQ(std::move(bad).error().In("input").message, "input: 3 is odd");
}

TEST(Result, ExitCodesFollowTheContract) {
  EXPECT_EQ(ExitCode(ErrorCode::kInfeasible), 1);
  EXPECT_EQ(ExitCode(ErrorCode::kInvalidInput), 2);
  EXPECT_EQ(ExitCode(ErrorCode::kIo), 3);
}

}  // namespace
}  // namespace stowage
