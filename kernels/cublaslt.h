// LinearArgs through cuBLASLt, which is opened at run time: one binary starts everywhere and says what it lacks.
//
// Reproducible by construction: no workspace, no split over k, fp32 accumulation without TF32, and one algorithm per
// (dtype, rows, n, k, bias, accumulate), chosen by the library's heuristic for the whole matrix and then used for its
// row tiles too, so that a tile's bytes equal the whole's. Where the library refuses the algorithm for a tile, or has
// none, the whole key falls back to LaunchLinearTiled, for all of its tiles.
#pragma once

#include <memory>
#include <string>

#include "kernels/linear.h"

namespace stowage::kernels {

// Owns a library handle for the current CUDA device. Not thread-safe. Must be destroyed before the device is reset.
class CublasLt {
 public:
  // Null when the library, one of its functions, or CUDA at build time is missing; *why then names what.
  static std::unique_ptr<CublasLt> Open(std::string* why);
  ~CublasLt();

  // Queues args: rows <= kLinearSmallRows through LaunchLinearSmall, others through the pinned algorithm.
  // kOk, kInvalidValue, a cudaError_t, or 30000 + cublasStatus_t.
  int Linear(const LinearArgs& args, void* stream);

  // One line per pinned key, in order of first use: "bf16 rows 512 n 4096 k 4096: tile 20 stages 4" or "…: own kernel".
  std::string Describe() const;
  std::string library() const;  // the file opened and its version, "libcublasLt.so.13 13.0.2"

 private:
  struct Impl;
  explicit CublasLt(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace stowage::kernels
