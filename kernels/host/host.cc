// The Host functions: validate, take the part, call the best instruction set's loop. Families whose time is nothing
// next to a matrix (embedding, rope, argmax) are plain loops here.
#include <cmath>
#include <cstring>

#include "kernels/float16.h"
#include "kernels/host/isa.h"
#include "kernels/validate.h"

namespace stowage::kernels {
namespace {

template <class Args, class Loop>
int RunPart(const Args& args, Part part, std::int64_t offset, std::int64_t total, Loop loop) {
  if (!Valid(args) || !Valid(part)) return kInvalidValue;
  const std::int64_t begin = part.Begin(total);
  const std::int64_t end = part.End(total);
  if (begin < end) loop(args, offset + begin, offset + end);
  return kOk;
}

// cos and sin of one position for up to kChunk frequencies, rounded as the cache's type.
struct Rotation {
  static constexpr int kChunk = 64;
  float cosine[kChunk];
  float sine[kChunk];
};

template <class T>
void RotateHeads(const T* from, T* to, int heads, int head_dim, int begin, int end, const Rotation& rotation) {
  const int half = head_dim / 2;
  for (int h = 0; h < heads; ++h, from += head_dim, to += head_dim) {
    for (int i = begin; i < end; ++i) {
      const float cosine = rotation.cosine[i - begin];
      const float sine = rotation.sine[i - begin];
      const float first = HostToFloat(from[i]);
      const float second = HostToFloat(from[i + half]);
      const auto round = [](float value) { return HostToFloat(HostFromFloat<T>(value)); };
      to[i] = HostFromFloat<T>(round(first * cosine) + round(-second * sine));
      to[i + half] = HostFromFloat<T>(round(second * cosine) + round(first * sine));
    }
  }
}

template <class T>
void RopeCacheRow(const RopeCacheArgs& args, std::int64_t row) {
  const std::int64_t kv_row = std::int64_t{args.kv_heads} * args.head_dim;
  const std::int64_t slot = (std::int64_t{args.past} * args.batch + row) * kv_row;
  T* q = static_cast<T*>(args.q) + row * args.heads * args.head_dim;
  const T* k = static_cast<const T*>(args.k) + row * kv_row;
  const auto position =
      static_cast<float>(args.past + row / args.batch);  // NOLINT(bugprone-integer-division): row's token
  const int half = args.head_dim / 2;
  for (int begin = 0; begin < half; begin += Rotation::kChunk) {
    const int end = begin + Rotation::kChunk < half ? begin + Rotation::kChunk : half;
    Rotation rotation;
    for (int i = begin; i < end; ++i) {
      const float angle = position * args.inv_freq[i];
      rotation.cosine[i - begin] = HostToFloat(HostFromFloat<T>(std::cos(angle)));
      rotation.sine[i - begin] = HostToFloat(HostFromFloat<T>(std::sin(angle)));
    }
    RotateHeads(q, q, args.heads, args.head_dim, begin, end, rotation);
    RotateHeads(k, static_cast<T*>(args.k_cache) + slot, args.kv_heads, args.head_dim, begin, end, rotation);
  }
  std::memmove(static_cast<T*>(args.v_cache) + slot, static_cast<const T*>(args.v) + row * kv_row, kv_row * sizeof(T));
}

template <class T>
std::int32_t ArgmaxRow(const T* logits, int vocab) {
  int best = 0;
  float held = HostToFloat(logits[0]);
  for (int c = 1; c < vocab && !std::isnan(held); ++c) {
    const float value = HostToFloat(logits[c]);
    if (value > held || std::isnan(value)) {
      best = c;
      held = value;
    }
  }
  return best;
}

}  // namespace

int HostEmbedding(const EmbeddingArgs& args, Part part) {
  if (!Valid(args) || !Valid(part)) return kInvalidValue;
  for (int r = 0; r < args.rows; ++r) {  // all rows, so that every part gives the same answer
    if (args.ids[r] < 0 || args.ids[r] >= args.vocab) return kTokenOutOfRange;
  }
  const std::int64_t row_bytes = std::int64_t{args.hidden} * ElementBytes(args.dtype);
  for (std::int64_t r = part.Begin(args.rows); r < part.End(args.rows); ++r) {
    std::memcpy(static_cast<char*>(args.out) + r * row_bytes,
                static_cast<const char*>(args.table) + args.ids[r] * row_bytes, row_bytes);
  }
  return kOk;
}

int HostRopeCache(const RopeCacheArgs& args, Part part) {
  return RunPart(args, part, 0, std::int64_t{args.tokens} * args.batch,
                 [](const RopeCacheArgs& a, std::int64_t begin, std::int64_t end) {
                   WithElementType(a.dtype, [&](auto element) {
                     for (std::int64_t row = begin; row < end; ++row) RopeCacheRow<decltype(element)>(a, row);
                     return kOk;
                   });
                 });
}

int HostArgmax(const ArgmaxArgs& args, Part part) {
  return RunPart(args, part, 0, args.rows, [](const ArgmaxArgs& a, std::int64_t begin, std::int64_t end) {
    WithElementType(a.dtype, [&](auto element) {
      const auto* logits = static_cast<const decltype(element)*>(a.logits);
      for (std::int64_t row = begin; row < end; ++row) a.out[row] = ArgmaxRow(logits + row * a.vocab, a.vocab);
      return kOk;
    });
  });
}

int HostLinear(const LinearArgs& args, Part part) {
  return RunPart(args, part, args.row_begin, args.row_end - args.row_begin, BestHostIsa().linear);
}

int HostAttention(const AttentionArgs& args, Part part) {
  return RunPart(args, part, 0, std::int64_t{args.tokens} * args.batch * args.heads, BestHostIsa().attention);
}

int HostRmsNorm(const RmsNormArgs& args, Part part) {
  return RunPart(args, part, 0, args.rows, BestHostIsa().rms_norm);
}

int HostSiluMul(const SiluMulArgs& args, Part part) {
  return RunPart(args, part, 0, args.count, BestHostIsa().silu_mul);
}

int HostConvert(const ConvertArgs& args, Part part) {
  return RunPart(args, part, 0, args.count, BestHostIsa().convert);
}

}  // namespace stowage::kernels
