// What every kernel test runs on: one set of kernels and the memory they can reach. The tests are the same for the host
// loops, the emulated CUDA sources (both in //kernels:kernels_test) and a GPU (//kernels:gpu_test).
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <ostream>
#include <random>
#include <string>

#include "kernels/table.h"

namespace stowage::kernels::testing {

struct Backend {
  std::string name;
  KernelTable table;
  int (*linear_tiled)(const LinearArgs&, void*) = nullptr;  // a second linear, tried with every number of rows; or null
  void* (*allocate)(std::size_t bytes) = nullptr;           // memory that host and kernels see
  void (*release)(void*) = nullptr;
  int (*synchronize)() = nullptr;         // 0, or the error of what was queued
  std::string (*last_error)() = nullptr;  // more words about it
  std::string why_absent = {};            // not empty: the tests are skipped with this reason
};

inline std::ostream& operator<<(std::ostream& out, const Backend& backend) { return out << backend.name; }

class KernelTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    if (!GetParam().why_absent.empty()) GTEST_SKIP() << GetParam().why_absent;
  }

  // Largest share of the tolerance that any element used: printed, so that a loose tolerance shows.
  void TearDown() override {
    if (worst_share_ >= 0) RecordProperty("percent_of_tolerance", std::to_string(100 * worst_share_));
    if (worst_share_ >= 0) std::printf("             %.1f %% of the tolerance used\n", 100 * worst_share_);
  }

  const Backend& backend() const { return GetParam(); }

  // Runs one call to its end.
  template <class Args>
  ::testing::AssertionResult Run(int (*kernel)(const Args&, void*), const Args& args) {
    int code = kernel(args, nullptr);
    if (code == kOk) code = backend().synchronize();
    if (code == kOk) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << backend().name << " returned " << code << ": " << backend().last_error();
  }

  // Within the tolerance; NaN never is.
  ::testing::AssertionResult Near(double got, double want, double tolerance, const std::string& where) {
    const double share = std::abs(got - want) / tolerance;
    if (share <= 1 || got == want) {
      worst_share_ = std::max(worst_share_, got == want ? 0.0 : share);
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << where << ": got " << got << ", want " << want << ", tolerance " << tolerance
                                         << " (" << 100 * share << " % used)";
  }

  int Uniform(int from, int to) { return std::uniform_int_distribution<int>(from, to)(random_); }

  std::mt19937 random_{20240607};  // NOLINT(readability-identifier-naming): tests use it as their own

 private:
  double worst_share_ = -1;
};

inline constexpr Dtype kDtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};

inline std::string Name(Dtype dtype) { return dtype == Dtype::kF32 ? "fp32" : dtype == Dtype::kF16 ? "fp16" : "bf16"; }

// Largest relative error of one rounding to `dtype`, and of one fp32 operation.
inline double UnitRoundoff(Dtype dtype) {
  return dtype == Dtype::kF32 ? 0x1p-24 : dtype == Dtype::kF16 ? 0x1p-11 : 0x1p-8;
}
inline constexpr double kFp32Roundoff = 0x1p-24;

// Half the distance between the smallest numbers of `dtype`.
inline double Underflow(Dtype dtype) { return dtype == Dtype::kF16 ? 0x1p-25 : 0x1p-140; }

}  // namespace stowage::kernels::testing
