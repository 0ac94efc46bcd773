// Memory of a test with guards around it, so that a write beyond the ends shows.
#pragma once

#include <cstring>
#include <random>

#include "kernels/float16.h"
#include "kernels/testing/backend.h"

namespace stowage::kernels::testing {

// `count` elements in the backend's memory, poisoned: every element is NaN until it is written. `misaligned` > 0 shifts
// the first element that many elements off a 256-byte boundary.
class Tensor {
 public:
  Tensor(const Backend& backend, Dtype dtype, std::int64_t count, int misaligned = 0)
      : release_(backend.release), dtype_(dtype), count_(count), bytes_(count * ElementBytes(dtype)) {
    offset_ = kGuardBytes + misaligned * ElementBytes(dtype);
    total_ = offset_ + bytes_ + kGuardBytes;
    memory_ = static_cast<unsigned char*>(backend.allocate(total_));
    std::memset(memory_, kGuard, total_);
    std::memset(data(), 0xff, bytes_);  // NaN in every type, and -1 as an integer
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  ~Tensor() { release_(memory_); }

  void* data() { return memory_ + offset_; }
  const void* data() const { return memory_ + offset_; }
  void* At(std::int64_t index) { return memory_ + offset_ + index * ElementBytes(dtype_); }
  std::int64_t count() const { return count_; }
  Dtype dtype() const { return dtype_; }

  float operator[](std::int64_t index) const { return LoadElement(dtype_, data(), index); }
  void Set(std::int64_t index, float value) { StoreElement(dtype_, data(), index, value); }

  Tensor& Random(std::mt19937& random, float deviation = 1.0f) {
    std::normal_distribution<float> normal(0.0f, deviation);
    for (std::int64_t i = 0; i < count_; ++i) Set(i, normal(random));
    return *this;
  }

  void CopyFrom(const Tensor& other) { std::memcpy(data(), other.data(), bytes_); }
  bool SameBytes(const Tensor& other) const { return std::memcmp(data(), other.data(), bytes_) == 0; }

  bool GuardsIntact() const {
    for (std::int64_t i = 0; i < total_; ++i) {
      if ((i < offset_ || i >= offset_ + bytes_) && memory_[i] != kGuard) return false;
    }
    return true;
  }

 private:
  static constexpr int kGuardBytes = 256;
  static constexpr unsigned char kGuard = 0xa5;

  void (*release_)(void*);
  Dtype dtype_;
  std::int64_t count_;
  std::int64_t bytes_;
  std::int64_t offset_;
  std::int64_t total_;
  unsigned char* memory_;
};

}  // namespace stowage::kernels::testing
