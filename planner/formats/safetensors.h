// The header of a safetensors file: 8 bytes little-endian length N, N bytes of JSON, then the data.
//
//   {"model.norm.weight": {"dtype": "BF16", "shape": [4096], "data_offsets": [0, 8192]}, ..., "__metadata__": {...}}
//
// The file is treated as hostile: nothing is allocated by a number in it before that number was compared with the size
// of the file, and a header that is accepted has tensors that tile the data exactly: no holes, no overlaps, each as
// long as its dtype and shape say, the last one ending where the file ends. Every refusal is kInvalidInput and names
// the file, the tensor and the numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/dtype.h"
#include "planner/model/model.h"

namespace stowage {

inline constexpr std::int64_t kMaxSafetensorsHeader = 100'000'000;  // bytes; the limit of the reference reader
inline constexpr std::size_t kMaxTensorName = 4096;                 // bytes; published names have at most 150
inline constexpr std::size_t kMaxTensorRank = 32;

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::int64_t offset = 0;  // from the start of the file
  std::int64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // by offset
  std::vector<std::pair<std::string, std::string>> metadata;
  std::int64_t data_begin = 0;  // 8 + N
};

// Reads the first 8 + N bytes and no data. kIo when they cannot be read.
Result<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path);

// N out of the first 8 bytes, checked against the size of the file.
Result<std::int64_t> SafetensorsHeaderLength(std::string_view first8, std::int64_t file_size, const std::string& where);

// `json` are the N bytes; file_size the whole file's. `where` starts each message.
Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, std::int64_t file_size,
                                                 const std::string& where);

}  // namespace stowage
