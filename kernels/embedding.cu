#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/embedding.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kEmbeddingThreads = 128;

// One block per row.
template <class T>
__global__ void EmbeddingKernel(EmbeddingArgs args) {
  constexpr int kPack = Pack<T>::kCount;
  const std::int64_t row = blockIdx.x;
  const int id = args.ids[row];
  const bool known = id >= 0 && id < args.vocab;
  if (!known && args.bad_ids && threadIdx.x == 0) CountOne(args.bad_ids);
  const T* from = static_cast<const T*>(args.table) + (known ? id : 0) * static_cast<std::int64_t>(args.hidden);
  T* to = static_cast<T*>(args.out) + row * args.hidden;
  for (int i = threadIdx.x * kPack; i < args.hidden; i += kEmbeddingThreads * kPack) {
    Pack<T> pack = LoadPack<kPack>(from + i, args.hidden - i);
    if (!known) {
      for (int j = 0; j < kPack; ++j) FromFloat(nanf(""), &pack.at[j]);
    }
    StorePack(pack, to + i, args.hidden - i);
  }
}

template <class T>
int LaunchFor(const EmbeddingArgs& args, void* stream) {
  return Launch(&EmbeddingKernel<T>, args.rows, kEmbeddingThreads, stream, args);
}

}  // namespace

int LaunchEmbedding(const EmbeddingArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND
