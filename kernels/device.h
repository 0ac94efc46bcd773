// What the .cu sources are written in: CUDA under nvcc, or its emulation on the CPU (kernels/emulation) when the same
// file is compiled as C++. Only .cu files include this. A source looks like
//
//   namespace STOWAGE_BACKEND {                             → stowage::kernels, or stowage::kernels::emulated
//   template <class T> __global__ void Kernel(XArgs args) {
//     STOWAGE_SHARED(float, partial, 32);                     a __shared__ array; checked in emulation
//     … threadIdx, blockIdx, __syncthreads(), __shfl_xor_sync(mask, value, lanes), expf …
//   }
//   int LaunchX(const XArgs& args, void* stream) { return Launch(&Kernel<T>, grid, block, stream, args); }
//
//   }
//
// Element types are float, Half and BFloat16 of float16.h; arithmetic is in float only, so bf16 needs no sm_80.
#pragma once

#include <cstdint>

#include "kernels/float16.h"

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define STOWAGE_BACKEND stowage::kernels
#define STOWAGE_DEVICE __device__ __forceinline__
#define STOWAGE_SHARED(T, name, n) __shared__ T name[n]

#else

#include <cmath>

#include "kernels/emulation/emulation.h"
#include "kernels/emulation/shared_array.h"

#define STOWAGE_BACKEND stowage::kernels::emulated
#define STOWAGE_DEVICE inline
#define __global__
#define __device__
#define STOWAGE_SHARED(T, name, n)                                                            \
  static thread_local ::stowage::kernels::emulation::SharedArray<T, n> name##_storage(#name); \
  auto& name = name##_storage.Enter()
#define threadIdx (::stowage::kernels::emulation::Current().thread)
#define blockIdx (::stowage::kernels::emulation::Current().block)
#define blockDim (::stowage::kernels::emulation::Current().block_size)
#define gridDim (::stowage::kernels::emulation::Current().grid_size)
#define __syncthreads() ::stowage::kernels::emulation::SyncThreads(__FILE__, __LINE__)
#define __syncwarp(mask) ::stowage::kernels::emulation::SyncWarp((mask), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) \
  ::stowage::kernels::emulation::ShuffleXor((mask), (value), (lanes), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, lanes) \
  ::stowage::kernels::emulation::ShuffleDown((mask), (value), (lanes), __FILE__, __LINE__)
#define dim3 ::stowage::kernels::emulation::Dim3

#endif

namespace STOWAGE_BACKEND {

constexpr std::uint32_t kAllLanes = 0xffffffffu;

STOWAGE_DEVICE float ToFloat(float value) { return value; }

#if defined(__CUDACC__)
STOWAGE_DEVICE float ToFloat(Half value) { return __half2float(__ushort_as_half(value.bits)); }
STOWAGE_DEVICE float ToFloat(BFloat16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }
STOWAGE_DEVICE void FromFloat(float value, float* to) { *to = value; }
STOWAGE_DEVICE void FromFloat(float value, Half* to) { to->bits = __half_as_ushort(__float2half_rn(value)); }
STOWAGE_DEVICE void FromFloat(float value, BFloat16* to) {
  to->bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
// fp32 product that is rounded before it is added to something: the compiler must not fuse it.
STOWAGE_DEVICE float Product(float a, float b) { return __fmul_rn(a, b); }
STOWAGE_DEVICE void CountOne(std::int32_t* counter) { atomicAdd(counter, 1); }
#else
STOWAGE_DEVICE float ToFloat(Half value) { return HostToFloat(value); }
STOWAGE_DEVICE float ToFloat(BFloat16 value) { return HostToFloat(value); }
template <class T>
STOWAGE_DEVICE void FromFloat(float value, T* to) {
  *to = HostFromFloat<T>(value);
}
STOWAGE_DEVICE float Product(float a, float b) { return a * b; }
STOWAGE_DEVICE void CountOne(std::int32_t* counter) { ++*counter; }
#endif

template <class T>
STOWAGE_DEVICE float RoundTo(float value) {
  T rounded;
  FromFloat(value, &rounded);
  return ToFloat(rounded);
}

// Queues `kernel`, whose one parameter is its argument struct, with `block` threads in each of `grid` blocks.
template <class Args>
int Launch(void (*kernel)(Args), dim3 grid, dim3 block, void* stream, const Args& args) {
#if defined(__CUDACC__)
  void* parameters[] = {const_cast<Args*>(&args)};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, parameters, 0,
                          static_cast<cudaStream_t>(stream));
#else
  (void)stream;
  return emulation::Launch(grid, block, [&] { kernel(args); });
#endif
}

}  // namespace STOWAGE_BACKEND
