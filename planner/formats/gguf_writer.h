// Writes GGUF files for tests, broken ones too: nothing is checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "planner/formats/gguf.h"

namespace stowage {

class GgufWriter {
 public:
  template <class T>
  static std::string Number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static std::string Text(std::string_view text) { return Number<std::uint64_t>(text.size()) + std::string(text); }
  static std::string Type(GgufType type) { return Number(static_cast<std::uint32_t>(type)); }

  // The value's bytes as they stand in the file, after its type.
  GgufWriter& Pair(std::string_view key, GgufType type, const std::string& value) {
    ++pairs_;
    pair_bytes_ += Text(key) + Type(type) + value;
    return *this;
  }
  GgufWriter& U32(std::string_view key, std::uint32_t value) { return Pair(key, GgufType::kU32, Number(value)); }
  GgufWriter& F32(std::string_view key, float value) { return Pair(key, GgufType::kF32, Number(value)); }
  GgufWriter& String(std::string_view key, std::string_view value) { return Pair(key, GgufType::kString, Text(value)); }
  GgufWriter& Array(std::string_view key, GgufType element, std::uint64_t count, const std::string& items) {
    return Pair(key, GgufType::kArray, Type(element) + Number(count) + items);
  }

  // `ne` as in the file: the contiguous dimension first.
  GgufWriter& Tensor(std::string_view name, const std::vector<std::int64_t>& ne, std::uint32_t type,
                     std::uint64_t offset) {
    ++tensors_;
    tensor_bytes_ += Text(name) + Number(static_cast<std::uint32_t>(ne.size()));
    for (const std::int64_t n : ne) tensor_bytes_ += Number(n);
    tensor_bytes_ += Number(type) + Number(offset);
    return *this;
  }

  // The file with `data` bytes of data after the header and its padding to `alignment`.
  std::string File(std::size_t data, std::uint32_t version = 3, std::size_t alignment = 32) const {
    std::string out = "GGUF" + Number(version) + Number(tensors_) + Number(pairs_) + pair_bytes_ + tensor_bytes_;
    out.resize((out.size() + alignment - 1) / alignment * alignment + data);
    return out;
  }

 private:
  std::uint64_t tensors_ = 0;
  std::uint64_t pairs_ = 0;
  std::string pair_bytes_;
  std::string tensor_bytes_;
};

}  // namespace stowage
