#include "kernels/convert.h"
#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kConvertThreads = 256;
constexpr int kPerThread = 4;  // 16 bytes of fp32, 8 of a 16-bit type

template <class From, class To>
__global__ void ConvertKernel(ConvertArgs args) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kConvertThreads + threadIdx.x) * kPerThread;
  if (i >= args.count) return;
  const Pack<From, kPerThread> from = LoadPack<kPerThread>(static_cast<const From*>(args.from) + i, args.count - i);
  Pack<To, kPerThread> to;
  for (int j = 0; j < kPerThread; ++j) FromFloat(ToFloat(from.at[j]), &to.at[j]);
  StorePack(to, static_cast<To*>(args.to) + i, args.count - i);
}

template <class From, class To>
int LaunchFor(const ConvertArgs& args, void* stream) {
  constexpr std::int64_t kPerBlock = kConvertThreads * kPerThread;
  const std::int64_t blocks = (args.count + kPerBlock - 1) / kPerBlock;
  if (blocks > 0x7fffffff) return kInvalidValue;
  auto* kernel = &ConvertKernel<From, To>;
  return Launch(kernel, static_cast<unsigned>(blocks), kConvertThreads, stream, args);
}

template <class From>
int LaunchFrom(const ConvertArgs& args, void* stream) {
  return WithElementType(args.to_dtype, [&](auto e) { return LaunchFor<From, decltype(e)>(args, stream); });
}

}  // namespace

int LaunchConvert(const ConvertArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.from_dtype, [&](auto e) { return LaunchFrom<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND
