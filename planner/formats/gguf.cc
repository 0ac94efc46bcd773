#include "planner/formats/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "planner/formats/file.h"
#include "planner/formats/gguf_input.h"
#include "planner/formats/json_scanner.h"
#include "planner/formats/quoted.h"

namespace stowage {
namespace {

constexpr std::int64_t kLeastPair = 8 + 1 + 4 + 1;  // a key of one byte and a value of one
constexpr std::int64_t kLeastTensor = 8 + 1 + 4 + 4 + 8;

// Bytes of one item in the file; of those of no fixed size, what each takes at least.
constexpr std::array<std::int64_t, 13> kItemBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
constexpr std::array<std::string_view, 13> kTypeNames = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                                         "int32",  "float32", "bool",   "string", "array",
                                                         "uint64", "int64",   "float64"};

std::int64_t ItemBytes(GgufType type) { return kItemBytes[static_cast<std::size_t>(type)]; }
bool IsNumber(GgufType type) { return type != GgufType::kString && type != GgufType::kArray; }

// The first of two equal names, by index; or nothing. Sorts hashes, and names only where hashes are equal: no choice
// of names makes it slower than sorting.
template <class NameOf>
std::optional<std::size_t> FindDuplicate(std::size_t count, NameOf name_of) {
  std::vector<std::pair<std::size_t, std::size_t>> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = {std::hash<std::string_view>()(name_of(i)), i};
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : name_of(a.second) < name_of(b.second);
  });
  for (std::size_t i = 1; i < count; ++i) {
    if (order[i].first == order[i - 1].first && name_of(order[i].second) == name_of(order[i - 1].second)) {
      return order[i].second;
    }
  }
  return std::nullopt;
}

class GgufParser {
 public:
  GgufParser(const InputFile* file, std::string_view bytes, std::int64_t size, const std::string& where)
      : in_(file, bytes, size, where), file_size_(size) {}

  Result<GgufHeader> Parse() {
    std::int64_t tensors = 0;
    std::int64_t pairs = 0;
    ReadCounts(tensors, pairs);
    for (std::int64_t i = 0; i < pairs && in_.ok(); ++i) ReadPair();
    CheckKeys();
    ReadAlignment();
    if (in_.ok()) header_.tensors.reserve(static_cast<std::size_t>(tensors));
    for (std::int64_t i = 0; i < tensors && in_.ok(); ++i) ReadTensor(i);
    CheckNames();
    CheckPlaces();
    if (!in_.ok()) return in_.TakeError();
    return std::move(header_);
  }

 private:
  void Bad(std::string_view what, std::string_view name, std::string_view text) {
    in_.Fail(fmt::format("{} {}{}", what, Quoted(name), text));
  }

  void ReadCounts(std::int64_t& tensors, std::int64_t& pairs) {
    const std::string_view magic = in_.Bytes(4);
    if (in_.ok() && magic != "GGUF") return in_.Fail("does not begin with \"GGUF\": not a GGUF file");
    header_.version = in_.Get<std::uint32_t>();
    if (!in_.ok()) return;
    if (header_.version != 0 && (header_.version & 0xFFFF) == 0) return in_.Fail("is a big-endian GGUF file");
    if (header_.version != 2 && header_.version != 3) {
      return in_.Fail(fmt::format("is GGUF version {}, known are 2 and 3", header_.version));
    }
    tensors = ReadCount("tensors", kLeastTensor);
    pairs = ReadCount("pairs", kLeastPair);
  }

  // A number of things of at least `least` bytes each that are still to come.
  std::int64_t ReadCount(std::string_view what, std::int64_t least) {
    const auto count = in_.Get<std::uint64_t>();
    if (count <= static_cast<std::uint64_t>(in_.left() / least)) return static_cast<std::int64_t>(count);
    in_.Fail(fmt::format("claims {} {} in the {} bytes left", count, what, in_.left()));
    return 0;
  }

  std::int64_t ReadLength(std::string_view what) {
    const auto length = in_.Get<std::uint64_t>();
    if (length <= static_cast<std::uint64_t>(in_.left())) return static_cast<std::int64_t>(length);
    in_.Fail(fmt::format("{} of {} bytes at byte {}, only {} are left", what, length, in_.position() - 8, in_.left()));
    return 0;
  }

  std::string ReadName(std::string_view what, std::size_t limit) {
    const std::int64_t length = ReadLength(what);
    if (!in_.ok()) return {};
    if (length == 0 || static_cast<std::size_t>(length) > limit) {
      in_.Fail(fmt::format("{} at byte {} has {} bytes; 1 to {} are allowed", what, in_.position(), length, limit));
      return {};
    }
    std::string name(in_.Bytes(static_cast<std::size_t>(length)));
    if (const std::size_t valid = ValidUtf8Prefix(name); in_.ok() && valid != name.size()) {
      Bad(what, name.substr(0, valid),
          fmt::format(" goes on with byte {:#04x}, which is not UTF-8", static_cast<unsigned char>(name[valid])));
    } else if (name.find('\0') != std::string::npos) {
      Bad(what, name, " holds a NUL");
    }
    return name;
  }

  bool ReadType(const std::string& key, GgufType& type) {
    const auto number = in_.Get<std::uint32_t>();
    if (in_.ok() && number >= kTypeNames.size()) {
      Bad("key", key, fmt::format(" has value type {}, known are 0 to {}", number, kTypeNames.size() - 1));
    }
    type = static_cast<GgufType>(number);
    return in_.ok();
  }

  void ReadPair() {
    GgufPair pair;
    pair.key = ReadName("key", kMaxGgufKey);
    GgufValue& value = pair.value;
    if (!ReadType(pair.key, value.type)) return;
    if (value.type == GgufType::kArray) {
      ReadArray(pair.key, value);
    } else {
      Keep(value, value.type == GgufType::kString ? ReadLength("string") : ItemBytes(value.type));
      if (value.type == GgufType::kBool && in_.ok() && static_cast<unsigned char>(value.bytes[0]) > 1) {
        Bad("key", pair.key, fmt::format(" is a bool of {}", static_cast<unsigned char>(value.bytes[0])));
      }
    }
    CheckLength();
    if (in_.ok()) header_.metadata.pairs.push_back(std::move(pair));
  }

  void Keep(GgufValue& value, std::int64_t bytes) {
    value.kept = static_cast<std::size_t>(bytes) <= kMaxKeptValue;
    if (value.kept) {
      value.bytes = in_.Bytes(static_cast<std::size_t>(bytes));
    } else {
      in_.Skip(bytes);
    }
  }

  void ReadArray(const std::string& key, GgufValue& value) {
    if (!ReadType(key, value.element)) return;
    value.count = ReadCount(fmt::format("{} of {}", kTypeNames[static_cast<std::size_t>(value.element)], Quoted(key)),
                            ItemBytes(value.element));
    if (IsNumber(value.element)) {
      Keep(value, value.count * ItemBytes(value.element));
    } else {
      value.kept = false;
      SkipItems(key, value.element, value.count, 1);
    }
  }

  // Depth is limited, so that recursion is.
  void SkipItems(const std::string& key, GgufType element, std::int64_t count, int depth) {
    if (IsNumber(element)) return in_.Skip(count * ItemBytes(element));
    if (element == GgufType::kString) {
      for (std::int64_t i = 0; i < count && in_.ok(); ++i) in_.Skip(ReadLength("string"));
      return;
    }
    if (depth == kMaxGgufNesting) return Bad("key", key, fmt::format(" nests arrays more than {} deep", depth));
    for (std::int64_t i = 0; i < count && in_.ok(); ++i) {
      GgufType inner = GgufType::kU8;
      if (!ReadType(key, inner)) return;
      SkipItems(key, inner, ReadCount("items", ItemBytes(inner)), depth + 1);
    }
  }

  void CheckLength() {
    if (in_.position() > kMaxGgufHeader) in_.Fail(fmt::format("header goes on beyond {} bytes", kMaxGgufHeader));
  }

  void CheckKeys() {
    const std::vector<GgufPair>& pairs = header_.metadata.pairs;
    const auto twice = FindDuplicate(pairs.size(), [&](std::size_t i) { return std::string_view(pairs[i].key); });
    if (twice) Bad("key", pairs[*twice].key, " appears twice");
  }

  void ReadAlignment() {
    const GgufValue* value = header_.metadata.Find("general.alignment");
    if (value == nullptr || !in_.ok()) return;
    const std::optional<std::int64_t> a = header_.metadata.Integer("general.alignment");
    if (!a) return in_.Fail(fmt::format("general.alignment is no integer but {}", Name(value->type)));
    if (*a < 1 || *a > kMaxGgufAlignment || (*a & (*a - 1)) != 0) {
      return in_.Fail(fmt::format("general.alignment is {}, must be a power of two up to {}", *a, kMaxGgufAlignment));
    }
    header_.alignment = *a;
  }

  void ReadTensor(std::int64_t index) {
    StoredTensor t;
    t.name = ReadName(fmt::format("tensor {}", index), kMaxTensorName);
    const auto rank = in_.Get<std::uint32_t>();
    if (!in_.ok()) return;
    if (rank > kMaxGgufRank) {
      return Bad("tensor", t.name, fmt::format(" has {} dimensions, at most {} are allowed", rank, kMaxGgufRank));
    }
    t.shape.resize(rank);
    for (std::uint32_t d = rank; d-- > 0;) t.shape[d] = in_.Get<std::int64_t>();
    const auto type = in_.Get<std::uint32_t>();
    const auto offset = in_.Get<std::uint64_t>();
    CheckLength();
    if (!in_.ok()) return;
    const std::optional<DType> dtype = GgmlDType(type);
    if (!dtype) return Bad("tensor", t.name, fmt::format(" has ggml type {}, which is none that is known", type));
    t.dtype = *dtype;
    if (offset > static_cast<std::uint64_t>(file_size_)) {
      return Bad("tensor", t.name, fmt::format(" begins {} bytes into the data, the file has {}", offset, file_size_));
    }
    t.offset = static_cast<std::int64_t>(offset);  // from the data until CheckPlaces
    if (SizeTensor(t)) header_.tensors.push_back(std::move(t));
  }

  // A size of 0 must not hide an overflow of the others.
  bool SizeTensor(StoredTensor& t) {
    std::int64_t n = 1;
    bool empty = false;
    for (const std::int64_t d : t.shape) {
      empty = empty || d == 0;
      if (d < 0) {
        Bad("tensor", t.name, fmt::format(": shape {} has a negative size", FormatShape(t.shape)));
      } else if (__builtin_mul_overflow(n, std::max<std::int64_t>(d, 1), &n)) {
        Bad("tensor", t.name, fmt::format(": shape {} overflows 64 bits", FormatShape(t.shape)));
      }
    }
    const BlockLayout block = Block(t.dtype);
    const std::int64_t row = t.shape.empty() ? 1 : t.shape.back();
    if (in_.ok() && row % block.elements != 0) {
      Bad("tensor", t.name,
          fmt::format(": rows of {} are not whole blocks of {}, as {} has them", row, block.elements, Name(t.dtype)));
    }
    if (in_.ok() && __builtin_mul_overflow(n / block.elements, block.bytes, &t.bytes)) {
      Bad("tensor", t.name, fmt::format(": shape {} overflows 64 bits", FormatShape(t.shape)));
    }
    if (empty) t.bytes = 0;
    return in_.ok();
  }

  void CheckNames() {
    const std::vector<StoredTensor>& tensors = header_.tensors;
    const auto twice = FindDuplicate(tensors.size(), [&](std::size_t i) { return std::string_view(tensors[i].name); });
    if (twice) Bad("tensor", tensors[*twice].name, " appears twice");
  }

  std::int64_t AlignUp(std::int64_t n) const {
    return (n + header_.alignment - 1) / header_.alignment * header_.alignment;
  }

  void CheckPlaces() {
    if (!in_.ok()) return;
    header_.data_begin = AlignUp(in_.position());
    std::vector<StoredTensor>& tensors = header_.tensors;
    const auto by_offset = [](const StoredTensor& a, const StoredTensor& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    };
    if (!std::is_sorted(tensors.begin(), tensors.end(), by_offset)) {
      std::stable_sort(tensors.begin(), tensors.end(), by_offset);
    }
    std::int64_t end = header_.data_begin;  // of the tensors so far; at most file_size_ once there is one
    const StoredTensor* last = nullptr;
    for (StoredTensor& t : tensors) {
      t.offset += header_.data_begin;  // each at most a file's size: no overflow
      if (t.offset < end) {
        return Bad("tensor", t.name,
                   fmt::format(" begins at byte {} inside {}, which ends at {}", t.offset, Quoted(last->name), end));
      }
      if (t.offset != AlignUp(end)) {
        return Bad("tensor", t.name,
                   fmt::format(" begins at byte {}, expected {}: the next multiple of {}", t.offset, AlignUp(end),
                               header_.alignment));
      }
      if (t.offset > file_size_ || t.bytes > file_size_ - t.offset) {
        return Bad("tensor", t.name,
                   fmt::format(" has bytes [{}, {}) but the file has {}", t.offset,
                               static_cast<std::uint64_t>(t.offset) + static_cast<std::uint64_t>(t.bytes), file_size_));
      }
      end = t.offset + t.bytes;
      last = &t;
    }
  }

  GgufInput in_;
  const std::int64_t file_size_;
  GgufHeader header_;
};

}  // namespace

std::string_view Name(GgufType type) { return kTypeNames[static_cast<std::size_t>(type)]; }

std::optional<DType> GgmlDType(std::uint32_t id) {
  constexpr auto kGone = DType::kBool;  // a number no longer used; GGUF has no bool tensors
  constexpr std::array kTypes = {
      DType::kF32,   DType::kF16,   DType::kQ4_0,    DType::kQ4_1,   kGone,           kGone,         DType::kQ5_0,
      DType::kQ5_1,  DType::kQ8_0,  DType::kQ8_1,    DType::kQ2_K,   DType::kQ3_K,    DType::kQ4_K,  DType::kQ5_K,
      DType::kQ6_K,  DType::kQ8_K,  DType::kIQ2_XXS, DType::kIQ2_XS, DType::kIQ3_XXS, DType::kIQ1_S, DType::kIQ4_NL,
      DType::kIQ3_S, DType::kIQ2_S, DType::kIQ4_XS,  DType::kI8,     DType::kI16,     DType::kI32,   DType::kI64,
      DType::kF64,   DType::kIQ1_M, DType::kBF16,    kGone,          kGone,           kGone,         DType::kTQ1_0,
      DType::kTQ2_0, kGone,         kGone,           kGone,          DType::kMXFP4,   DType::kNVFP4, DType::kQ1_0,
      DType::kQ2_0};
  static_assert(kTypes.size() == 43);
  if (id >= kTypes.size() || kTypes[id] == kGone) return std::nullopt;
  return kTypes[id];
}

Result<GgufHeader> ParseGgufHeader(std::string_view file, std::int64_t file_size, const std::string& where) {
  return GgufParser(nullptr, file, file_size, where).Parse();
}

Result<GgufHeader> ReadGgufHeader(const std::string& path) {
  STOWAGE_TRY(const InputFile file, InputFile::Open(path));
  return GgufParser(&file, {}, file.size(), path).Parse();
}

}  // namespace stowage
