#include "planner/formats/gguf.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "planner/formats/file.h"
#include "planner/formats/gguf_writer.h"

namespace stowage {
namespace {

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ4_0 = 2;
constexpr std::uint32_t kQ8_0 = 8;

std::string Parse(const std::string& file) {
  const Result<GgufHeader> header = ParseGgufHeader(file, static_cast<std::int64_t>(file.size()), "f");
  if (!header) return header.error().message;
  std::string out;
  for (const GgufPair& p : header->metadata.pairs) {
    out += fmt::format("{}: {}", p.key, Name(p.value.type));
    if (p.value.type == GgufType::kArray) out += fmt::format(" of {} {}", p.value.count, Name(p.value.element));
    if (p.value.type == GgufType::kString) out += " " + p.value.bytes;
    for (std::size_t i = 0; i < ItemsIn(p.value); ++i) {
      std::visit([&](auto item) { out += fmt::format(" {}", item); }, ItemOf(p.value, i));
    }
    out += "\n";
  }
  for (const StoredTensor& t : header->tensors) {
    out += fmt::format("{} {} {} [{}, {})\n", t.name, Name(t.dtype), FormatShape(t.shape),
                       t.offset - header->data_begin, t.offset - header->data_begin + t.bytes);
  }
  return out;
}

std::string Header(const GgufWriter& w, std::size_t data) { return Parse(w.File(data)); }

TEST(Gguf, ListsTensorsWithRowMajorShapesInTheOrderOfTheData) {
  const GgufWriter w = GgufWriter()
                           .String("general.architecture", "llama")
                           .Tensor("b", {64, 3}, kQ8_0, 32)
                           .Tensor("a", {2}, kF32, 0)
                           .Tensor("c", {32, 2, 5, 7}, kQ4_0, 256);
  const char* expected =
      "general.architecture: string llama\n"
      "a fp32 [2] [0, 8)\n"
      "b q8_0 [3, 64] [32, 236)\n"
      "c q4_0 [7, 5, 2, 32] [256, 1516)\n";
  EXPECT_EQ(Header(w, 1516), expected);
  EXPECT_EQ(Parse(w.File(1600, 2)), expected);  // version 2; bytes after the last tensor are its padding
}

TEST(Gguf, AcceptsScalarsEmptyTensorsAndNone) {
  EXPECT_EQ(Header(GgufWriter().Tensor("x", {}, kF32, 0), 4), "x fp32 [] [0, 4)\n");
  EXPECT_EQ(Header(GgufWriter().Tensor("x", {0, 3}, kF32, 0).Tensor("y", {1}, kF32, 0), 4),
            "x fp32 [3, 0] [0, 0)\ny fp32 [1] [0, 4)\n");
  EXPECT_EQ(Header(GgufWriter(), 0), "");
}

TEST(Gguf, ReadsValuesOfEveryType) {
  using W = GgufWriter;
  const GgufWriter w =
      GgufWriter()
          .Pair("u8", GgufType::kU8, W::Number<std::uint8_t>(200))
          .Pair("i8", GgufType::kI8, W::Number<std::int8_t>(-3))
          .Pair("u16", GgufType::kU16, W::Number<std::uint16_t>(60000))
          .Pair("i16", GgufType::kI16, W::Number<std::int16_t>(-300))
          .U32("u32", 4'000'000'000)
          .Pair("i32", GgufType::kI32, W::Number<std::int32_t>(-5))
          .F32("f32", 0.5F)
          .Pair("bool", GgufType::kBool, W::Number<std::uint8_t>(1))
          .String("text", "x y")
          .Pair("u64", GgufType::kU64, W::Number<std::uint64_t>(1ULL << 63))
          .Pair("i64", GgufType::kI64, W::Number<std::int64_t>(-1))
          .Pair("f64", GgufType::kF64, W::Number(1.25))
          .Array("words", GgufType::kString, 2, W::Text("a") + W::Text("bc"))
          .Array("numbers", GgufType::kI16, 2, W::Number<std::int16_t>(7) + W::Number<std::int16_t>(-7))
          .Array("nested", GgufType::kArray, 2,
                 W::Type(GgufType::kU8) + W::Number<std::uint64_t>(3) + "abc" + W::Type(GgufType::kString) +
                     W::Number<std::uint64_t>(1) + W::Text("d"))
          .U32("last", 9);
  EXPECT_EQ(Header(w, 0),
            "u8: uint8 200\n"
            "i8: int8 -3\n"
            "u16: uint16 60000\n"
            "i16: int16 -300\n"
            "u32: uint32 4000000000\n"
            "i32: int32 -5\n"
            "f32: float32 0.5\n"
            "bool: bool true\n"
            "text: string x y\n"
            "u64: uint64 9223372036854775808\n"
            "i64: int64 -1\n"
            "f64: float64 1.25\n"
            "words: array of 2 string\n"
            "numbers: array of 2 int16 7 -7\n"
            "nested: array of 2 array\n"
            "last: uint32 9\n");
}

TEST(Gguf, KeepsNoLongValues) {
  const GgufWriter w =
      GgufWriter().String("long", std::string(kMaxKeptValue + 1, 'x')).U32("n", 3).Tensor("x", {1}, kF32, 0);
  EXPECT_EQ(Header(w, 4), "long: string \nn: uint32 3\nx fp32 [1] [0, 4)\n");
}

TEST(Gguf, WidensIntegersAndRefusesOtherThings) {
  const std::string file = GgufWriter()
                               .Pair("u64", GgufType::kU64, GgufWriter::Number<std::uint64_t>(1ULL << 63))
                               .Pair("i8", GgufType::kI8, GgufWriter::Number<std::int8_t>(-3))
                               .F32("f32", 0.5F)
                               .String("text", "t")
                               .Array("flags", GgufType::kBool, 2, std::string("\0\1", 2))
                               .File(0);
  const auto header = ParseGgufHeader(file, static_cast<std::int64_t>(file.size()), "f");
  ASSERT_TRUE(header) << header.error().message;
  const GgufMetadata& m = header->metadata;
  EXPECT_EQ(m.Integer("i8"), -3);
  EXPECT_EQ(m.Integer("u64"), std::nullopt);
  EXPECT_EQ(m.Integer("f32"), std::nullopt);
  EXPECT_EQ(m.Integer("absent"), std::nullopt);
  EXPECT_EQ(m.Number("f32"), 0.5);
  EXPECT_EQ(m.Number("i8"), -3);
  EXPECT_EQ(m.Text("text"), "t");
  EXPECT_EQ(m.Text("i8"), std::nullopt);
  EXPECT_EQ(m.Integers("flags"), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(m.Integers("i8"), (std::vector<std::int64_t>{-3}));
  EXPECT_TRUE(m.Integers("text").empty());
}

TEST(Gguf, RefusesWhatIsNoGguf) {
  EXPECT_EQ(Parse(""), "f: ends at byte 0, the header needs [0, 4)");
  EXPECT_EQ(Parse("PK\3\4 and more than enough bytes after it"), "f: does not begin with \"GGUF\": not a GGUF file");
  EXPECT_EQ(Parse(GgufWriter().File(0, 1)), "f: is GGUF version 1, known are 2 and 3");
  EXPECT_EQ(Parse(GgufWriter().File(0, 4)), "f: is GGUF version 4, known are 2 and 3");
  EXPECT_EQ(Parse(GgufWriter().File(0, 0x03000000)), "f: is a big-endian GGUF file");
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string file = GgufWriter()
                               .String("general.architecture", "llama")
                               .Array("a", GgufType::kU32, 2, std::string(8, '\1'))
                               .Tensor("x", {32}, kQ8_0, 0)
                               .File(34);
  ASSERT_EQ(Parse(file),
            "general.architecture: string llama\na: array of 2 uint32 16843009 16843009\nx q8_0 [32] [0, 34)\n");
  for (std::size_t n = 0; n < file.size(); ++n) {
    EXPECT_FALSE(ParseGgufHeader(file.substr(0, n), static_cast<std::int64_t>(n), "f")) << n;
  }
}

TEST(Gguf, RefusesCountsAndLengthsBeyondTheFile) {
  using W = GgufWriter;
  std::string file = "GGUF" + W::Number<std::uint32_t>(3);
  EXPECT_EQ(Parse(file + W::Number(std::uint64_t{1} << 50) + W::Number<std::uint64_t>(0)),
            "f: claims 1125899906842624 tensors in the 8 bytes left");
  EXPECT_EQ(Parse(file + W::Number<std::uint64_t>(0) + W::Number(~std::uint64_t{0})),
            "f: claims 18446744073709551615 pairs in the 0 bytes left");
  EXPECT_EQ(Header(GgufWriter().Pair("s", GgufType::kString, W::Number(std::uint64_t{1} << 62)), 0),
            "f: string of 4611686018427387904 bytes at byte 37, only 19 are left");
  EXPECT_EQ(Header(GgufWriter().Array("a", GgufType::kU8, std::uint64_t{1} << 63, ""), 0),
            "f: claims 9223372036854775808 uint8 of 'a' in the 15 bytes left");
  EXPECT_EQ(Header(GgufWriter().Array("a", GgufType::kF64, 1 + (std::uint64_t{1} << 61), ""), 0),
            "f: claims 2305843009213693953 float64 of 'a' in the 15 bytes left");
  EXPECT_EQ(Header(GgufWriter().Array("a", GgufType::kString, 100, ""), 0),
            "f: claims 100 string of 'a' in the 15 bytes left");
}

TEST(Gguf, RefusesBadKeysTypesAndNesting) {
  using W = GgufWriter;
  EXPECT_EQ(Header(GgufWriter().U32("", 1), 0), "f: key at byte 32 has 0 bytes; 1 to 65535 are allowed");
  EXPECT_EQ(Header(GgufWriter().U32(std::string(70000, 'k'), 1), 0),
            "f: key at byte 32 has 70000 bytes; 1 to 65535 are allowed");
  EXPECT_EQ(Header(GgufWriter().U32("a\xffz", 1), 0), "f: key 'a' goes on with byte 0xff, which is not UTF-8");
  EXPECT_EQ(Header(GgufWriter().U32("a", 1).U32("b", 1).U32("a", 2), 0), "f: key 'a' appears twice");
  EXPECT_EQ(Header(GgufWriter().Pair("a", static_cast<GgufType>(13), "1"), 0),
            "f: key 'a' has value type 13, known are 0 to 12");
  EXPECT_EQ(Header(GgufWriter().Pair("a", GgufType::kBool, "\2"), 0), "f: key 'a' is a bool of 2");
  std::string nested;
  for (int i = 0; i < 100; ++i) nested += W::Type(GgufType::kArray) + W::Number<std::uint64_t>(1);
  EXPECT_EQ(Header(GgufWriter().Pair("a", GgufType::kArray, nested), 0), "f: key 'a' nests arrays more than 8 deep");
}

TEST(Gguf, RefusesBadAlignments) {
  for (const std::uint32_t a : {0U, 3U, 48U, 1U << 21, 1U << 30, ~0U}) {
    EXPECT_EQ(Header(GgufWriter().U32("general.alignment", a), 0),
              fmt::format("f: general.alignment is {}, must be a power of two up to 1048576", a));
  }
  EXPECT_EQ(Header(GgufWriter().String("general.alignment", "32"), 0), "f: general.alignment is no integer but string");
  const GgufWriter w = GgufWriter().U32("general.alignment", 128).Tensor("x", {1}, kF32, 0).Tensor("y", {1}, kF32, 128);
  EXPECT_EQ(Parse(w.File(132, 3, 128)), "general.alignment: uint32 128\nx fp32 [1] [0, 4)\ny fp32 [1] [128, 132)\n");
}

TEST(Gguf, RefusesTensorsThatOverlapLeaveHolesOrTheFile) {
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {16}, kF32, 0).Tensor("b", {16}, kF32, 32), 96),
            "f: tensor 'b' begins at byte 128 inside 'a', which ends at 160");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {16}, kF32, 0).Tensor("b", {16}, kF32, 96), 160),
            "f: tensor 'b' begins at byte 192, expected 160: the next multiple of 32");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {1}, kF32, 0).Tensor("b", {1}, kF32, 4), 64),
            "f: tensor 'b' begins at byte 100, expected 128: the next multiple of 32");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {1}, kF32, 32), 64),
            "f: tensor 'a' begins at byte 96, expected 64: the next multiple of 32");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {16}, kF32, 0), 63),
            "f: tensor 'a' has bytes [64, 128) but the file has 127");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {1}, kF32, ~std::uint64_t{31}), 64),
            "f: tensor 'a' begins 18446744073709551584 bytes into the data, the file has 128");
}

TEST(Gguf, RefusesBadTensors) {
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {1}, kF32, 0).Tensor("a", {1}, kF32, 32), 64),
            "f: tensor 'a' appears twice");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {1, 1, 1, 1, 1}, kF32, 0), 4),
            "f: tensor 'a' has 5 dimensions, at most 4 are allowed");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {-1}, kF32, 0), 4), "f: tensor 'a': shape [-1] has a negative size");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {33}, kQ8_0, 0), 99),
            "f: tensor 'a': rows of 33 are not whole blocks of 32, as q8_0 has them");
  for (const std::uint32_t type : {4U, 5U, 31U, 33U, 36U, 38U, 43U, 202U, ~0U}) {
    EXPECT_EQ(Header(GgufWriter().Tensor("a", {256}, type, 0), 99),
              fmt::format("f: tensor 'a' has ggml type {}, which is none that is known", type));
  }
}

TEST(Gguf, RefusesShapesThatOverflow) {
  // 2^31 * 2^31 * 4 * 4 wraps to 0: a reader that multiplies first and looks for zero then would call it empty.
  constexpr std::int64_t k31 = std::int64_t{1} << 31;
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {k31, k31, 4}, kF32, 0), 0),
            "f: tensor 'a': shape [4, 2147483648, 2147483648] overflows 64 bits");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {k31, k31}, kF32, 0), 0),
            "f: tensor 'a': shape [2147483648, 2147483648] overflows 64 bits");
  EXPECT_EQ(Header(GgufWriter().Tensor("a", {k31, k31, 4, 0}, kF32, 0), 0),
            "f: tensor 'a': shape [0, 4, 2147483648, 2147483648] overflows 64 bits");
}

TEST(Gguf, EveryGgmlTypeHasItsBlock) {
  std::string out;
  for (std::uint32_t id = 0; id < 50; ++id) {
    const std::optional<DType> dtype = GgmlDType(id);
    if (dtype) out += fmt::format("{} {} {} {}\n", id, Name(*dtype), Block(*dtype).elements, Block(*dtype).bytes);
  }
  // As ggml's own library reports them.
  EXPECT_EQ(
      out,
      "0 fp32 1 4\n1 fp16 1 2\n2 q4_0 32 18\n3 q4_1 32 20\n6 q5_0 32 22\n7 q5_1 32 24\n8 q8_0 32 34\n9 q8_1 32 36\n"
      "10 q2_k 256 84\n11 q3_k 256 110\n12 q4_k 256 144\n13 q5_k 256 176\n14 q6_k 256 210\n15 q8_k 256 292\n"
      "16 iq2_xxs 256 66\n17 iq2_xs 256 74\n18 iq3_xxs 256 98\n19 iq1_s 256 50\n20 iq4_nl 32 18\n"
      "21 iq3_s 256 110\n22 iq2_s 256 82\n23 iq4_xs 256 136\n24 int8 1 1\n25 int16 1 2\n26 int32 1 4\n27 int64 1 8\n"
      "28 fp64 1 8\n29 iq1_m 256 56\n30 bf16 1 2\n34 tq1_0 256 54\n35 tq2_0 256 66\n39 mxfp4 32 17\n"
      "40 nvfp4 64 36\n41 q1_0 128 18\n42 q2_0 64 18\n");
}

TEST(Gguf, ReadsOnlyTheHeaderOfAFile) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  const auto header = ReadGgufHeader(JoinPath(shared, "data/golden/gguf/llama-q8_0.gguf"));
  ASSERT_TRUE(header) << header.error().message;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
  for (const StoredTensor& t : header->tensors) {
    elements += Elements(t.shape);
    bytes += t.bytes;
  }
  EXPECT_EQ(header->tensors.size(), 31U);
  EXPECT_EQ(elements, 188'864 + 8);  // the folder llama's and rope_freqs.weight
  EXPECT_EQ(header->metadata.Integer("llama.block_count"), 3);
  EXPECT_EQ(header->tensors.back().offset + header->tensors.back().bytes, 204'544);
  EXPECT_EQ(ReadGgufHeader(JoinPath(shared, "data/golden")).error().message,
            JoinPath(shared, "data/golden") + ": is not a regular file");
  EXPECT_LT(bytes, 204'544);
}

}  // namespace
}  // namespace stowage
