// What every kernel family shares: element types, return codes and how a host kernel is split over threads.
//
// A family `x` is one args struct (plain data, borrowed pointers, nothing kept after the call) and up to four
// functions:
//
//   int ReferenceX(const XArgs&);               slow and obvious, in double where that is the truth; the referee
//   int HostX(const XArgs&, Part part = {});    fast on the CPU; computes one of `part.count` disjoint pieces
//   int LaunchX(const XArgs&, void* stream);    CUDA: queues the kernel on a cudaStream_t (null = default stream);
//                                               pointers are device pointers
//   int emulated::LaunchX(const XArgs&, void*); the same .cu source on the CPU (kernels/emulation); finished on return
//
// All return kOk or another code below; LaunchX also any cudaError_t. Nothing allocates memory, nothing throws.
#pragma once

#include <cstdint>

namespace stowage::kernels {

// Element type of activations, weights and KV cache of one call. Sums are always kept in fp32.
enum class Dtype { kF32, kF16, kBF16 };

constexpr int ElementBytes(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

inline constexpr int kOk = 0;
inline constexpr int kInvalidValue = 1;         // = cudaErrorInvalidValue: sizes or pointers that make no sense
inline constexpr int kLaunchFailure = 719;      // = cudaErrorLaunchFailure; from emulation: see emulation::LastError()
inline constexpr int kTokenOutOfRange = 20001;  // a token id outside [0, vocab)
inline constexpr int kUnavailable = 20002;      // a library opened at run time is absent

// Piece `index` of `count` of the work of one call. Pieces write disjoint outputs, so each may run on a thread of its
// own; the result of the whole does not depend on `count`. What is divided (rows, columns, …) is said by each family.
struct Part {
  int index = 0;
  int count = 1;

  constexpr std::int64_t Begin(std::int64_t total) const { return total * index / count; }
  constexpr std::int64_t End(std::int64_t total) const { return total * (index + 1) / count; }
};

}  // namespace stowage::kernels
