#include "planner/formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>

#include "planner/base/text.h"
#include "planner/formats/file.h"
#include "planner/formats/json_scanner.h"
#include "planner/formats/quoted.h"

namespace stowage {
namespace {

constexpr std::int64_t kLengthBytes = 8;

// bytes = product(shape) * size; false on overflow. Overflow is looked for before a later 0 could hide it.
bool DataBytes(const Shape& shape, DType dtype, std::int64_t& bytes) {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) {
    if (__builtin_mul_overflow(n, d, &n)) return false;
  }
  if (__builtin_mul_overflow(n, Bits(dtype), &n)) return false;
  bytes = n / 8;
  return true;
}

class HeaderParser {
 public:
  HeaderParser(std::string_view json, std::int64_t file_size, const std::string& where)
      : in_(json), where_(where), file_size_(file_size) {
    header_.data_begin = kLengthBytes + static_cast<std::int64_t>(json.size());
  }

  Result<SafetensorsHeader> Parse() {
    in_.BeginObject();
    for (std::string_view key; in_.NextKey(key);) {
      if (key == "__metadata__") {
        STOWAGE_RETURN_IF_ERROR(ParseMetadata());
      } else {
        STOWAGE_RETURN_IF_ERROR(ParseTensor(key));
      }
    }
    in_.End();
    if (!in_.ok()) return Bad(fmt::format("header {}", in_.problem()));
    STOWAGE_RETURN_IF_ERROR(CheckNames());
    STOWAGE_RETURN_IF_ERROR(CheckTiling());
    return std::move(header_);
  }

 private:
  Error Bad(std::string text) const { return {ErrorCode::kInvalidInput, where_ + ": " + std::move(text)}; }
  Error Bad(const StoredTensor& t, std::string text) const {
    return Bad(fmt::format("tensor {}{}", Quoted(t.name), text));
  }

  Status ParseMetadata() {
    if (has_metadata_) return Bad("header has two __metadata__");
    has_metadata_ = true;
    in_.BeginObject();
    for (std::string_view key; in_.NextKey(key);) {
      std::string name(key);
      header_.metadata.emplace_back(std::move(name), in_.String());
    }
    return OkStatus();  // a syntax error stays in in_
  }

  Status ParseTensor(std::string_view name) {
    StoredTensor t;
    t.name = name;
    if (name.empty() || name.size() > kMaxTensorName || name.find('\0') != std::string_view::npos) {
      return Bad(t, fmt::format(": a name has 1 to {} bytes and no NUL", kMaxTensorName));
    }
    enum { kDType = 1, kShape = 2, kOffsets = 4, kAll = 7 };
    unsigned seen = 0;
    in_.BeginObject();
    for (std::string_view key; in_.NextKey(key);) {
      const unsigned field = key == "dtype" ? kDType : key == "shape" ? kShape : key == "data_offsets" ? kOffsets : 0;
      if ((seen & field) != 0) return Bad(t, fmt::format(": has two {}", key));
      seen |= field;
      if (field == kDType) {
        STOWAGE_RETURN_IF_ERROR(ParseDType(t));
      } else if (field == kShape) {
        STOWAGE_RETURN_IF_ERROR(ParseShape(t));
      } else if (field == kOffsets) {
        ParseOffsets(t);
      } else {
        in_.Skip();
      }
    }
    if (!in_.ok()) return OkStatus();
    if (seen != kAll) {
      return Bad(t, fmt::format(": has no {}", !(seen & kDType)   ? "dtype"
                                               : !(seen & kShape) ? "shape"
                                                                  : "data_offsets"));
    }
    STOWAGE_RETURN_IF_ERROR(CheckTensor(t));
    header_.tensors.push_back(std::move(t));
    return OkStatus();
  }

  Status ParseDType(StoredTensor& t) {
    const std::string_view text = in_.String();
    if (!in_.ok()) return OkStatus();
    const std::optional<DType> dtype = stowage::ParseDType(text);
    if (!dtype || SafetensorsName(*dtype) != text) return Bad(t, fmt::format(": unknown dtype {}", Quoted(text)));
    t.dtype = *dtype;
    return OkStatus();
  }

  Status ParseShape(StoredTensor& t) {
    in_.BeginArray();
    while (in_.NextItem()) {
      if (t.shape.size() == kMaxTensorRank) return Bad(t, fmt::format(": has more than {} dimensions", kMaxTensorRank));
      t.shape.push_back(in_.Integer());
    }
    return OkStatus();
  }

  // Leaves offset and bytes relative to the data, bytes = end - begin; may be negative until CheckTensor.
  void ParseOffsets(StoredTensor& t) {
    in_.BeginArray();
    std::array<std::int64_t, 2> ends = {};
    std::size_t count = 0;
    for (; in_.NextItem(); ++count) {
      if (count == ends.size()) return in_.Fail("data_offsets has more than two numbers");
      ends[count] = in_.Integer();
    }
    if (count < ends.size()) return in_.Fail("data_offsets has fewer than two numbers");
    t.offset = ends[0];
    t.bytes = ends[1] - ends[0];  // both in [0, 2^63): no overflow
  }

  Status CheckTensor(StoredTensor& t) {
    if (t.bytes < 0) return Bad(t, fmt::format(" begins at {} and ends before, at {}", t.offset, t.offset + t.bytes));
    std::int64_t bytes = 0;
    if (!DataBytes(t.shape, t.dtype, bytes)) {
      return Bad(t, fmt::format(": shape {} overflows 64 bits", FormatShape(t.shape)));
    }
    if (bytes != t.bytes) {
      return Bad(t, fmt::format(": {} {} takes {} bytes, its data_offsets [{}, {}] hold {}", SafetensorsName(t.dtype),
                                FormatShape(t.shape), bytes, t.offset, t.offset + t.bytes, t.bytes));
    }
    if (__builtin_add_overflow(t.offset, header_.data_begin, &t.offset)) {
      return Bad(t, ": data_offsets overflow 64 bits");
    }
    return OkStatus();
  }

  // A hash set: comparing each name with all others would make a small file take minutes.
  Status CheckNames() const {
    std::unordered_set<std::string_view> names;
    names.reserve(header_.tensors.size());
    for (const StoredTensor& t : header_.tensors) {
      if (!names.insert(t.name).second) return Bad(t, " appears twice");
    }
    return OkStatus();
  }

  Status CheckTiling() {
    const auto by_offset = [](const StoredTensor& a, const StoredTensor& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    };
    if (!std::is_sorted(header_.tensors.begin(), header_.tensors.end(), by_offset)) {
      std::stable_sort(header_.tensors.begin(), header_.tensors.end(), by_offset);
    }
    std::int64_t end = header_.data_begin;
    const StoredTensor* last = nullptr;
    for (const StoredTensor& t : header_.tensors) {
      if (t.offset > end) return Bad(t, fmt::format(": bytes [{}, {}) before it belong to no tensor", end, t.offset));
      if (t.offset < end) {
        return Bad(t, fmt::format(" begins at byte {} inside {}, which ends at {}", t.offset, Quoted(last->name), end));
      }
      if (t.bytes > file_size_ - t.offset) {
        return Bad(t,
                   fmt::format(" ends at byte {} but the file has {}",
                               static_cast<std::uint64_t>(t.offset) + static_cast<std::uint64_t>(t.bytes), file_size_));
      }
      end = t.offset + t.bytes;
      last = &t;
    }
    if (end != file_size_) {
      return Bad(fmt::format("bytes [{}, {}) after the last tensor belong to no tensor", end, file_size_));
    }
    return OkStatus();
  }

  JsonScanner in_;
  const std::string& where_;
  const std::int64_t file_size_;
  SafetensorsHeader header_;
  bool has_metadata_ = false;
};

}  // namespace

Result<std::int64_t> SafetensorsHeaderLength(std::string_view first8, std::int64_t file_size,
                                             const std::string& where) {
  const auto bad = [&](std::string text) { return Error{ErrorCode::kInvalidInput, where + ": " + std::move(text)}; };
  if (file_size < kLengthBytes || first8.size() < kLengthBytes) {
    return bad(fmt::format("has {} bytes, a safetensors file has at least {}", file_size, kLengthBytes));
  }
  std::uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(first8[i]);
  if (length > static_cast<std::uint64_t>(kMaxSafetensorsHeader)) {
    return bad(fmt::format("header length {} is beyond {}: not a safetensors file", length, kMaxSafetensorsHeader));
  }
  const std::int64_t end = kLengthBytes + static_cast<std::int64_t>(length);
  if (end > file_size) return bad(fmt::format("header ends at byte {} but the file has {}", end, file_size));
  return static_cast<std::int64_t>(length);
}

Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, std::int64_t file_size,
                                                 const std::string& where) {
  if (!json.starts_with('{')) {
    return Error{ErrorCode::kInvalidInput, where + ": header does not begin with '{': not a safetensors file"};
  }
  return HeaderParser(json, file_size, where).Parse();
}

Result<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path) {
  STOWAGE_TRY(const InputFile file, InputFile::Open(path));
  STOWAGE_TRY(const std::string first8, file.Read(0, std::min(file.size(), kLengthBytes)));
  STOWAGE_TRY(const std::int64_t length, SafetensorsHeaderLength(first8, file.size(), path));
  STOWAGE_TRY(const std::string json, file.Read(kLengthBytes, length));
  return ParseSafetensorsHeader(json, file.size(), path);
}

}  // namespace stowage
