#include "planner/machine/size.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace stowage {
namespace {

TEST(ParseSize, ReadsWhatAccelerateReads) {
  const std::vector<std::pair<std::string, std::int64_t>> cases = {
      {"15GB", 15'000'000'000},
      {"15GiB", 16'106'127'360},
      {"15gib", 16'106'127'360},
      {"0.5GiB", 536'870'912},
      {"1e3MB", 1'000'000'000},
      {"2 GiB", 2'147'483'648},
      {" 2GiB", 2'147'483'648},
      {"24MiB", 25'165'824},
      {"7KiB", 7'168},
      {"3KB", 3'000},
      {"1_000KB", 1'000'000},
      {"+1GB", 1'000'000'000},
      {".5KB", 500},
      {"5.KB", 5'000},
      {"0GB", 0},
      {"1.9999KB", 1'999},
      {"15.7GB", 15'700'000'000},
      {"0.0001KB", 0},
      {"-0.0001KB", 0},
      {"-0GB", 0},
  };
  for (const auto& [text, bytes] : cases) {
    const Result<Bytes> size = ParseSize(text);
    ASSERT_TRUE(size) << text;
    EXPECT_EQ(size->value(), bytes) << text;
  }
}

TEST(ParseSize, TheCaseOfTheLastLetterTellsBytesFromBits) {
  EXPECT_EQ(*ParseSize("15gB"), Bytes(15'000'000'000));
  EXPECT_EQ(*ParseSize("15gb"), Bytes(1'875'000'000));
  EXPECT_EQ(*ParseSize("15Gb"), Bytes(1'875'000'000));
  EXPECT_EQ(*ParseSize("1mb"), Bytes(125'000));
  EXPECT_EQ(*ParseSize("1.001Kb"), Bytes(125));
  EXPECT_EQ(*ParseSize("1gIb"), Bytes(1'073'741'824));
}

TEST(ParseSize, AddsTerabytesAndPlainBytes) {
  EXPECT_EQ(*ParseSize("2TB"), Bytes(2'000'000'000'000));
  EXPECT_EQ(*ParseSize("1.5TiB"), Bytes(1'649'267'441'664));
  EXPECT_EQ(*ParseSize("8tb"), Bytes(1'000'000'000'000));
  EXPECT_EQ(*ParseSize("16106127360"), Bytes(16'106'127'360));
  EXPECT_EQ(*ParseSize("0"), Bytes(0));
  EXPECT_EQ(*ParseSize("9223372036854775807"), Bytes(std::numeric_limits<std::int64_t>::max()));
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const char* text : {"",        " ",        "GB",    "B",     "512B",   "5T",      "5MBB",
                           "5k0MB",   "15 G B",   "nanGB", "infGB", "0x10GB", "1e999GB", "1__0GB",
                           "_1GB",    "1_GB",     "+-1GB", "++1GB", "1.5",    "1e9",     "99999999999999999999",
                           "fifteen", "15GB\x80", "１５GB"}) {
    const Result<Bytes> size = ParseSize(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, ErrorCode::kInvalidInput) << text;
    EXPECT_EQ(size.error().message.find("'" + std::string(text) + "' is not a size"), 0u) << size.error().message;
  }
}

TEST(ParseSize, SaysWhatItAccepts) {
  EXPECT_EQ(ParseSize("15G").error().message,
            "'15G' is not a size; write a number with KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of "
            "1024) or Kb, Mb, Gb, Tb (bits), or a whole number of bytes");
}

TEST(ParseSize, RefusesSizesNoIntegerHolds) {
  EXPECT_EQ(ParseSize("-1GB").error().message, "size '-1GB' is below 0");
  EXPECT_EQ(ParseSize("-5").error().message, "size '-5' is below 0");
  EXPECT_EQ(ParseSize("9223373TB").error().message, "size '9223373TB' is beyond 2^63 - 1 bytes");
}

}  // namespace
}  // namespace stowage
