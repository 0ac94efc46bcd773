#include "planner/formats/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace stowage {
namespace {

// Parses `json` as the header of a file with `data` bytes after it; the tensors, or the error.
std::string Parse(const std::string& json, std::int64_t data) {
  const std::int64_t file_size = 8 + static_cast<std::int64_t>(json.size()) + data;
  const Result<SafetensorsHeader> header = ParseSafetensorsHeader(json, file_size, "f");
  if (!header) return header.error().message;
  std::string out;
  for (const StoredTensor& t : header->tensors) {
    out += fmt::format("{} {} {} [{}, {})\n", t.name, Name(t.dtype), FormatShape(t.shape),
                       t.offset - header->data_begin, t.offset - header->data_begin + t.bytes);
  }
  for (const auto& [key, value] : header->metadata) out += key + "=" + value + "\n";
  return out;
}

std::string Tensor(const char* name, const char* dtype, const char* shape, const char* offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

std::string OneTensor(const char* dtype, const char* shape, const char* offsets) {
  return "{" + Tensor("x", dtype, shape, offsets) + "}";
}

TEST(Safetensors, ListsTensorsByOffsetWithMetadata) {
  EXPECT_EQ(Parse("{" + Tensor("b", "F32", "[2, 1]", "[4, 12]") + "," + Tensor("a", "BF16", "[2]", "[0, 4]") +
                      R"(,"__metadata__":{"format":"pt"}}   )",
                  12),
            "a bf16 [2] [0, 4)\n"
            "b fp32 [2, 1] [4, 12)\n"
            "format=pt\n");
}

TEST(Safetensors, AcceptsScalarsEmptyTensorsAndNoTensors) {
  EXPECT_EQ(Parse(OneTensor("F64", "[]", "[0, 8]"), 8), "x fp64 [] [0, 8)\n");
  EXPECT_EQ(Parse(OneTensor("F32", "[0, 7]", "[0, 0]"), 0), "x fp32 [0, 7] [0, 0)\n");
  EXPECT_EQ(Parse("{}", 0), "");
}

TEST(Safetensors, RefusesATensorBeyondTheFile) {
  EXPECT_EQ(Parse(OneTensor("F32", "[4]", "[0, 16]"), 10), "f: tensor 'x' ends at byte 80 but the file has 74");
}

TEST(Safetensors, RefusesHolesOverlapsAndLeftovers) {
  EXPECT_EQ(Parse(OneTensor("F32", "[1]", "[4, 8]"), 8), "f: tensor 'x': bytes [63, 67) before it belong to no tensor");
  EXPECT_EQ(Parse("{" + Tensor("a", "U8", "[8]", "[0, 8]") + "," + Tensor("b", "U8", "[8]", "[4, 12]") + "}", 12),
            "f: tensor 'b' begins at byte 120 inside 'a', which ends at 124");
  EXPECT_EQ(Parse(OneTensor("F32", "[1]", "[0, 4]"), 8), "f: bytes [67, 71) after the last tensor belong to no tensor");
}

TEST(Safetensors, RefusesSizesThatDisagree) {
  EXPECT_EQ(Parse(OneTensor("BF16", "[4, 4]", "[0, 30]"), 30),
            "f: tensor 'x': BF16 [4, 4] takes 32 bytes, its data_offsets [0, 30] hold 30");
  EXPECT_EQ(Parse(OneTensor("BF16", "[4]", "[8, 0]"), 8), "f: tensor 'x' begins at 8 and ends before, at 0");
}

TEST(Safetensors, RefusesShapesAndOffsetsThatOverflow) {
  EXPECT_EQ(Parse(OneTensor("F32", "[4294967296, 4294967296]", "[0, 0]"), 0),
            "f: tensor 'x': shape [4294967296, 4294967296] overflows 64 bits");
  // 2^31 * 2^31 * 4 wraps to 0: a reader that multiplies first and looks for zero then would call it empty.
  EXPECT_EQ(Parse(OneTensor("F32", "[2147483648, 2147483648, 4]", "[0, 0]"), 0),
            "f: tensor 'x': shape [2147483648, 2147483648, 4] overflows 64 bits");
  EXPECT_EQ(Parse(OneTensor("U8", "[0]", "[9223372036854775807, 9223372036854775807]"), 0),
            "f: tensor 'x': data_offsets overflow 64 bits");
  EXPECT_EQ(Parse(OneTensor("U8", "[18446744073709551616]", "[0, 0]"), 0), "f: header byte 47: number beyond 2^63");
}

TEST(Safetensors, RefusesUnknownDTypes) {
  EXPECT_EQ(Parse(OneTensor("F4", "[2]", "[0, 1]"), 1), "f: tensor 'x': unknown dtype 'F4'");
  EXPECT_EQ(Parse(OneTensor("bf16", "[1]", "[0, 2]"), 2), "f: tensor 'x': unknown dtype 'bf16'");
}

TEST(Safetensors, RefusesNamesThatAppearTwice) {
  const std::string x = Tensor("x", "U8", "[0]", "[0, 0]");
  EXPECT_EQ(Parse("{" + x + "," + x + "}", 0), "f: tensor 'x' appears twice");
  EXPECT_EQ(Parse("{" + x + "," + Tensor("\\u0078", "U8", "[0]", "[0, 0]") + "}", 0), "f: tensor 'x' appears twice");
}

TEST(Safetensors, RefusesMissingDoubledAndMistypedFields) {
  EXPECT_EQ(Parse(R"({"x":{"dtype":"U8","shape":[0]}})", 0), "f: tensor 'x': has no data_offsets");
  EXPECT_EQ(Parse(R"({"x":{"dtype":"U8","dtype":"U8"}})", 0), "f: tensor 'x': has two dtype");
  EXPECT_EQ(Parse(OneTensor("U8", "[-1]", "[0, 0]"), 0), "f: header byte 28: expected an integer that is not negative");
  EXPECT_EQ(Parse(OneTensor("U8", "[0]", "[0]"), 0), "f: header byte 49: data_offsets has fewer than two numbers");
  EXPECT_EQ(Parse(OneTensor("U8", "[0]", "[0, 0, 0]"), 0), "f: header byte 52: data_offsets has more than two numbers");
  EXPECT_EQ(Parse(R"({"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
            "f: tensor '': a name has 1 to 4096 bytes and no NUL");
  EXPECT_EQ(Parse(R"({"__metadata__":{"a":1}})", 0), "f: header byte 21: expected a string");
  EXPECT_EQ(Parse(R"({"__metadata__":{},"__metadata__":{}})", 0), "f: header has two __metadata__");
}

TEST(Safetensors, RefusesABrokenHeader) {
  EXPECT_EQ(Parse("[]", 0), "f: header does not begin with '{': not a safetensors file");
  EXPECT_EQ(Parse("{\"a\xFF\":{}}", 0), "f: header byte 3: is not valid UTF-8");
  EXPECT_EQ(Parse("{\"a\":" + std::string(1000, '['), 0), "f: header byte 5: expected an object");
  EXPECT_EQ(Parse(R"({"x":{"z":)" + std::string(1000, '['), 0), "f: header byte 73: nested deeper than 64");
}

TEST(Safetensors, RefusesAHeaderLengthBeforeAllocatingIt) {
  const auto length = [](std::uint64_t n, std::int64_t file_size) {
    std::string first(8, '\0');
    for (int i = 0; i < 8; ++i) first[i] = static_cast<char>(n >> (8 * i));
    const Result<std::int64_t> r = SafetensorsHeaderLength(first, file_size, "f");
    return r ? std::to_string(*r) : r.error().message;
  };
  EXPECT_EQ(length(100, 108), "100");
  EXPECT_EQ(length(100, 107), "f: header ends at byte 108 but the file has 107");
  EXPECT_EQ(length(~0ull, 1000), "f: header length 18446744073709551615 is beyond 100000000: not a safetensors file");
  EXPECT_EQ(length(0, 5), "f: has 5 bytes, a safetensors file has at least 8");
}

TEST(Safetensors, RefusesEveryTruncationOfAHeader) {
  const std::string json = "{" + Tensor("a", "BF16", "[2]", "[0, 4]") + R"(,"__metadata__":{"format":"pt"}})";
  ASSERT_EQ(Parse(json, 4), "a bf16 [2] [0, 4)\nformat=pt\n");
  for (std::size_t n = 0; n < json.size(); ++n) {
    EXPECT_EQ(Parse(json.substr(0, n), 4).substr(0, 9), "f: header") << n;
  }
}

}  // namespace
}  // namespace stowage
