// Wide memory accesses and the sum over a warp, for the .cu sources.
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/device.h"

namespace STOWAGE_BACKEND {

// N neighbouring elements: one or more 16-byte memory accesses where the address allows.
template <class T, int N = 16 / sizeof(T)>
struct Pack {
  static constexpr int kCount = N;
  T at[N];
};

// Moved as whole words: an array of small elements would be taken apart into as many loads.
#if defined(__CUDACC__)
using Word16 = uint4;
using Word8 = uint2;
#else
struct alignas(16) Word16 {
  std::uint32_t words[4];
};
struct alignas(8) Word8 {
  std::uint32_t words[2];
};
#endif
template <class T, int N>
struct PackWords {
  static constexpr bool kSixteen = N * sizeof(T) % 16 == 0;
  static_assert(kSixteen || N * sizeof(T) == 8);
  using Word = std::conditional_t<kSixteen, Word16, Word8>;
  static constexpr int kCount = N * sizeof(T) / sizeof(Word);
  Word at[kCount];
};

template <class Word, class T>
STOWAGE_DEVICE bool Aligned(const T* address) {
  return reinterpret_cast<std::uintptr_t>(address) % sizeof(Word) == 0;
}

// `from` is aligned and has N elements.
template <int N, class T>
STOWAGE_DEVICE Pack<T, N> LoadAlignedPack(const T* from) {
  using Words = PackWords<T, N>;
  Words words;
  for (int i = 0; i < Words::kCount; ++i) words.at[i] = reinterpret_cast<const typename Words::Word*>(from)[i];
  Pack<T, N> pack;
  memcpy(&pack, &words, sizeof pack);
  return pack;
}

// Elements [0, N) of `from`; those at or beyond `left` are zero and are not touched. The values, and so the order of
// any sum over them, do not depend on the alignment.
template <int N, class T>
STOWAGE_DEVICE Pack<T, N> LoadPack(const T* from, std::int64_t left) {
  if (left >= N && Aligned<typename PackWords<T, N>::Word>(from)) return LoadAlignedPack<N>(from);
  Pack<T, N> pack;
  for (int i = 0; i < N; ++i) pack.at[i] = i < left ? from[i] : T{};
  return pack;
}

template <int N, class T>
STOWAGE_DEVICE void StorePack(const Pack<T, N>& pack, T* to, std::int64_t left) {
  using Words = PackWords<T, N>;
  if (left >= N && Aligned<typename Words::Word>(to)) {
    Words words;
    memcpy(&words, &pack, sizeof pack);
    for (int i = 0; i < Words::kCount; ++i) reinterpret_cast<typename Words::Word*>(to)[i] = words.at[i];
  } else {
    for (int i = 0; i < N && i < left; ++i) to[i] = pack.at[i];
  }
}

// Sum over the 32 lanes, in a fixed order; every lane gets it.
STOWAGE_DEVICE float WarpSum(float value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

}  // namespace STOWAGE_BACKEND
