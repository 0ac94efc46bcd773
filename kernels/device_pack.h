// Wide memory accesses and the sum over a warp, for the .cu sources.
#pragma once

#include "kernels/device.h"

namespace stowage::kernels STOWAGE_BACKEND_OPEN

    // N neighbouring elements: one or more 16-byte memory accesses where the address allows.
    template <class T, int N = 16 / sizeof(T)>
    struct Pack {
  static constexpr int kCount = N;
  T at[N];
};  // namespace stowage::kernelsSTOWAGE_BACKEND_OPENtemplate<classT,intN=16/sizeof(T)>structPack

template <int N, class T>
STOWAGE_DEVICE bool Aligned(const T* address) {
  return reinterpret_cast<std::uintptr_t>(address) % (N * sizeof(T) < 16 ? N * sizeof(T) : 16) == 0;
}

// Elements [0, N) of `from`; those at or beyond `left` are zero and are not touched. The values, and so the order of
// any sum over them, do not depend on the alignment.
template <int N, class T>
STOWAGE_DEVICE Pack<T, N> LoadPack(const T* from, std::int64_t left) {
  struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Wide {
    Pack<T, N> pack;
  };
  if (left >= N && Aligned<N>(from)) return reinterpret_cast<const Wide*>(from)->pack;
  Pack<T, N> pack;
  for (int i = 0; i < N; ++i) pack.at[i] = i < left ? from[i] : T{};
  return pack;
}

template <int N, class T>
STOWAGE_DEVICE void StorePack(const Pack<T, N>& pack, T* to, std::int64_t left) {
  struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Wide {
    Pack<T, N> pack;
  };
  if (left >= N && Aligned<N>(to)) {
    reinterpret_cast<Wide*>(to)->pack = pack;
  } else {
    for (int i = 0; i < N && i < left; ++i) to[i] = pack.at[i];
  }
}

// Sum over the 32 lanes, in a fixed order; every lane gets it.
STOWAGE_DEVICE float WarpSum(float value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

STOWAGE_BACKEND_CLOSE
