// The checkpoint files a schedule reads from, opened once and read in place with pread. Plain bytes: what a tensor is,
// is the plan's business.
//
// A plan was made from the files' headers, so the bytes must still be there: a file that is shorter than the plan says,
// or that changed while it was being read (size or modification time), is an error and never silently wrong weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"

namespace stowage {

// Owns the descriptors. Read may be called by any number of threads at once.
class WeightFiles {
 public:
  // kIo naming the file that cannot be opened, with the system's reason.
  static Result<WeightFiles> Open(const std::vector<std::string>& paths);

  WeightFiles() = default;
  WeightFiles(WeightFiles&& other) noexcept : files_(std::move(other.files_)) { other.files_.clear(); }
  WeightFiles& operator=(WeightFiles&&) = delete;
  ~WeightFiles();

  // Fills `to` from byte `offset` of files[file]. kIo names the tensor, the file, the offset, the bytes wanted and got.
  Status Read(std::int32_t file, std::int64_t offset, std::span<std::byte> to, std::string_view tensor) const;

 private:
  struct File {
    std::string path;
    int descriptor = -1;
    std::int64_t size = 0;
    std::int64_t modified_ns = 0;
  };
  std::vector<File> files_;
};

}  // namespace stowage
