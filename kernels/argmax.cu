#include "kernels/argmax.h"
#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kArgmaxThreads = 1024;  // one block reads a whole vocabulary
constexpr int kArgmaxWarps = kArgmaxThreads / 32;
constexpr int kNone = 0x7fffffff;  // of a thread that saw nothing: loses every tie

// Whether (value, index) goes before (held, held_index).
STOWAGE_DEVICE bool Better(float value, int index, float held, int held_index) {
  if (held_index == kNone || index == kNone) return index < held_index;
  const bool nan = value != value;
  const bool held_nan = held != held;
  if (nan || held_nan) return nan && (!held_nan || index < held_index);
  return value > held || (value == held && index < held_index);
}

STOWAGE_DEVICE void WarpBest(float& value, int& index) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, lanes);
    const int other_index = __shfl_xor_sync(kAllLanes, index, lanes);
    if (Better(other, other_index, value, index)) {
      value = other;
      index = other_index;
    }
  }
}

// One block per row.
template <class T>
__global__ void ArgmaxKernel(ArgmaxArgs args) {
  STOWAGE_SHARED(float, values, kArgmaxWarps);
  STOWAGE_SHARED(int, indices, kArgmaxWarps);
  constexpr int kPack = Pack<T>::kCount;
  const T* logits = static_cast<const T*>(args.logits) + static_cast<std::int64_t>(blockIdx.x) * args.vocab;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  float value = 0;
  int index = kNone;
  for (int c = threadIdx.x * kPack; c < args.vocab; c += kArgmaxThreads * kPack) {
    const Pack<T> pack = LoadPack<kPack>(logits + c, args.vocab - c);
    for (int j = 0; j < kPack && c + j < args.vocab; ++j) {
      if (Better(ToFloat(pack.at[j]), c + j, value, index)) {
        value = ToFloat(pack.at[j]);
        index = c + j;
      }
    }
  }
  WarpBest(value, index);
  if (lane == 0) {
    values[warp] = value;
    indices[warp] = index;
  }
  __syncthreads();
  if (warp != 0) return;
  value = values[lane];
  index = indices[lane];
  WarpBest(value, index);
  if (lane == 0) args.out[blockIdx.x] = index;
}

template <class T>
int LaunchFor(const ArgmaxArgs& args, void* stream) {
  return Launch(&ArgmaxKernel<T>, args.rows, kArgmaxThreads, stream, args);
}

}  // namespace

int LaunchArgmax(const ArgmaxArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND
