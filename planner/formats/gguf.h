// The header of a GGUF file, versions 2 and 3 (little-endian):
//
//   "GGUF" | u32 version | u64 tensors | u64 pairs
//   pairs    string key | u32 type | value             string: u64 length and its bytes; array: u32 type, u64 count, items
//   tensors  string name | u32 rank | u64 ne[rank] | u32 ggml type | u64 offset in the data
//   data     from the next multiple of general.alignment (32 without it)
//
// The file is treated as hostile: every count and length is compared with the bytes that are left before anything is
// allocated by it, values that a planner has no use for (tokenizers, mostly) are stepped over, duplicate keys and names
// are found by sorting. An accepted header has tensors that lie in the file one after the other, each begun at the next
// multiple of the alignment: no overlaps and no holes, as ggml's own reader demands; in whichever order they are
// listed. Every refusal is kInvalidInput and names the file, the tensor or key and the numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "planner/base/result.h"
#include "planner/formats/safetensors.h"

namespace stowage {

inline constexpr std::int64_t kMaxGgufHeader = std::int64_t{1} << 30;     // bytes; published ones have at most 20 MB
inline constexpr std::int64_t kMaxGgufAlignment = std::int64_t{1} << 20;  // published files have 32
inline constexpr std::size_t kMaxGgufKey = 65535;                         // the format's own limit
inline constexpr std::size_t kMaxGgufRank = 4;
inline constexpr int kMaxGgufNesting = 8;              // arrays in arrays; ggml reads none
inline constexpr std::size_t kMaxKeptValue = 1 << 16;  // bytes; longer strings and arrays are stepped over

enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};
std::string_view Name(GgufType type);  // "uint32", as the specification spells it

struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;  // of an array
  std::int64_t count = 1;            // elements of an array
  // A string's text, or little-endian numbers one after the other. Empty for arrays of strings or of arrays, and for
  // what is longer than kMaxKeptValue.
  std::string bytes;
  bool kept = true;
};

struct GgufPair {
  std::string key;
  GgufValue value;
};

// The pairs of a header. Numbers of every width are read alike, as writers do not agree on them.
struct GgufMetadata {
  std::vector<GgufPair> pairs;  // in the order of the file

  const GgufValue* Find(std::string_view key) const;  // null when absent; linear
  // Absent when there is no such key, it holds something else, or the value is not an int64.
  std::optional<std::int64_t> Integer(std::string_view key) const;
  std::optional<double> Number(std::string_view key) const;
  std::optional<std::string_view> Text(std::string_view key) const;
  // The items of an array, or the one of a scalar; empty when absent, not kept or not all integers (bools count as 0
  // and 1).
  std::vector<std::int64_t> Integers(std::string_view key) const;
};

struct GgufHeader {
  std::uint32_t version = 0;
  std::int64_t alignment = 32;
  std::int64_t data_begin = 0;  // from the start of the file
  GgufMetadata metadata;
  std::vector<StoredTensor> tensors;  // by offset; the shape is row-major, the reverse of ne: [out, in] for a matrix
};

// Reads the header and no data. kIo when it cannot be read.
Result<GgufHeader> ReadGgufHeader(const std::string& path);

// `file` holds the beginning of the file, or all of it; file_size the whole. `where` starts each message.
Result<GgufHeader> ParseGgufHeader(std::string_view file, std::int64_t file_size, const std::string& where);

// The dtype with this number in ggml's enum; absent for numbers never used or used no more.
std::optional<DType> GgmlDType(std::uint32_t id);

// Item `index` of a number or of an array of numbers that was kept.
using GgufItem = std::variant<bool, std::int64_t, std::uint64_t, double>;
GgufItem ItemOf(const GgufValue& value, std::size_t index);
// How many items ItemOf has: 0 for strings, nested arrays and what was not kept.
std::size_t ItemsIn(const GgufValue& value);

}  // namespace stowage
