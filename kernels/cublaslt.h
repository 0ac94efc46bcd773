// LinearArgs through cuBLASLt, which is opened at run time: one binary starts everywhere and says what it lacks.
//
// Reproducible by construction: no workspace, no split over k, fp32 accumulation without TF32, and one algorithm per
// (dtype, rows, n, k, bias, accumulate), chosen by the library's heuristic for the whole matrix and then used, tile by
// tile, for its row tiles too, so that a tile's bytes equal the whole's (//kernels:gpu_test checks). A key for which
// the library has no such algorithm is computed by LaunchLinearTiled, for all of its tiles. The choice depends on the
// key alone.
#pragma once

#include <memory>
#include <string>

#include "kernels/linear.h"

namespace stowage::kernels {

// Tiles that CublasLt::Linear takes start at a multiple of this many rows: its algorithms need 16-byte aligned columns
// of y.
inline constexpr int kCublasLtTileRows = 8;

// Linear's codes for a failure inside the library: this plus the cublasStatus_t.
inline constexpr int kCublasLtError = 30000;

// Owns a library handle for the CUDA device current at Open. One thread at a time.
class CublasLt {
 public:
  // Null when the library, one of its functions, a device, or CUDA at build time is missing; *why then says what.
  static std::unique_ptr<CublasLt> Open(std::string* why);
  ~CublasLt();

  // Queues args: rows <= kLinearSmallRows through LaunchLinearSmall, others through the pinned algorithm or
  // LaunchLinearTiled. x, weight and y must be 16-byte aligned and row_begin a multiple of kCublasLtTileRows, or it is
  // kInvalidValue where the library would have been used. Otherwise kOk, a cudaError_t, or kCublasLtError + status.
  int Linear(const LinearArgs& args, void* stream);

  // One line per key so far: "bf16 rows 512 n 4096 k 4096: algorithm 66 tile 20 stages 18" or "…: own kernel".
  std::string Describe() const;

  // The file that was opened and its version: "libcublasLt.so.13 130100".
  std::string Library() const;

 private:
  class Impl;
  explicit CublasLt(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace stowage::kernels
