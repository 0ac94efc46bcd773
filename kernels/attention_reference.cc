#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention.h"
#include "kernels/float16.h"
#include "kernels/validate.h"

namespace stowage::kernels {
namespace {

struct Head {
  const AttentionArgs& args;
  int row;   // t * batch + b
  int head;  // of the queries

  std::int64_t QueryAt() const { return (std::int64_t{row} * args.heads + head) * args.head_dim; }
  std::int64_t CacheAt(int position) const {
    const int group = head / (args.heads / args.kv_heads);
    const std::int64_t cache_row = std::int64_t{position} * args.batch + row % args.batch;
    return (cache_row * args.kv_heads + group) * args.head_dim;
  }
  double Score(int position) const {
    double sum = 0;
    for (int i = 0; i < args.head_dim; ++i) {
      sum += double{LoadElement(args.dtype, args.q, QueryAt() + i)} *
             double{LoadElement(args.dtype, args.k_cache, CacheAt(position) + i)};
    }
    return sum / std::sqrt(static_cast<double>(args.head_dim));
  }
};

void OneHead(const Head& head) {
  const AttentionArgs& args = head.args;
  const int positions = args.past + head.row / args.batch + 1;
  double largest = -std::numeric_limits<double>::infinity();
  for (int p = 0; p < positions; ++p) largest = std::max(largest, head.Score(p));
  double weights = 0;
  double sums[kMaxHeadDim] = {};
  for (int p = 0; p < positions; ++p) {
    const double weight = std::exp(head.Score(p) - largest);
    weights += weight;
    for (int i = 0; i < args.head_dim; ++i) {
      sums[i] += weight * double{LoadElement(args.dtype, args.v_cache, head.CacheAt(p) + i)};
    }
  }
  for (int i = 0; i < args.head_dim; ++i) {
    StoreElement(args.dtype, args.out, head.QueryAt() + i, static_cast<float>(sums[i] / weights));
  }
}

}  // namespace

int ReferenceAttention(const AttentionArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  for (int r = 0; r < args.tokens * args.batch; ++r) {
    for (int h = 0; h < args.heads; ++h) OneHead({args, r, h});
  }
  return kOk;
}

}  // namespace stowage::kernels
