#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/silu_mul.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kSiluThreads = 256;

template <class T>
__global__ void SiluMulKernel(SiluMulArgs args) {
  constexpr int kPack = Pack<T>::kCount;
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kSiluThreads + threadIdx.x) * kPack;
  if (i >= args.count) return;
  Pack<T> gate = LoadPack<kPack>(static_cast<const T*>(args.gate) + i, args.count - i);
  const Pack<T> up = LoadPack<kPack>(static_cast<const T*>(args.up) + i, args.count - i);
  for (int j = 0; j < kPack; ++j) {
    const float g = ToFloat(gate.at[j]);
    FromFloat(RoundTo<T>(g / (1.0f + expf(-g))) * ToFloat(up.at[j]), &gate.at[j]);
  }
  StorePack(gate, static_cast<T*>(args.out) + i, args.count - i);
}

template <class T>
int LaunchFor(const SiluMulArgs& args, void* stream) {
  constexpr std::int64_t kPerBlock = kSiluThreads * Pack<T>::kCount;
  const std::int64_t blocks = (args.count + kPerBlock - 1) / kPerBlock;
  if (blocks > 0x7fffffff) return kInvalidValue;
  return Launch(&SiluMulKernel<T>, static_cast<unsigned>(blocks), kSiluThreads, stream, args);
}

}  // namespace

int LaunchSiluMul(const SiluMulArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND
