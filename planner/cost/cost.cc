#include "planner/cost/cost.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace stowage {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

double Over(double amount, double rate) {
  if (amount <= 0) return 0;
  return rate > 0 ? amount / rate : kNever;
}

double SmoothMax(double a, double b, double p) {
  if (p == 2) return std::sqrt(a * a + b * b);
  const double larger = std::max(a, b);
  if (larger == 0 || larger == kNever) return larger;
  // Scaled by the larger one, so that a large p neither overflows nor vanishes.
  return larger * std::pow(1 + std::pow(std::min(a, b) / larger, p), 1 / p);
}

}  // namespace

Seconds Duration(const Kernel& kernel, std::int64_t iteration, const ComputeRate& rate) {
  const double flops = kernel.flops.at(iteration).value();
  const double bytes = static_cast<double>(kernel.bytes.at(iteration).value());
  const double compute = Over(flops, rate.flops_efficiency * rate.Peak(kernel.dtype).value());
  const double memory = Over(bytes, rate.memory_efficiency * rate.memory.value());
  const double over_link = Over(static_cast<double>(kernel.host_bytes.at(iteration).value()), rate.in_place.value());
  return Seconds(SmoothMax(compute, memory, rate.smoothness) + over_link) + rate.launch;
}

Seconds Duration(Bytes bytes, const TransferRate& rate, bool pageable) {
  const double per_second = (pageable ? rate.pageable : rate.pinned).value();
  return rate.latency + Seconds(Over(static_cast<double>(bytes.value()), per_second));
}

Seconds LocalCopyDuration(Bytes bytes, const ComputeRate& rate) {
  return Seconds(Over(2 * static_cast<double>(bytes.value()), rate.memory_efficiency * rate.memory.value())) +
         rate.launch;
}

Seconds AllReduceDuration(Bytes bytes, int ranks, const TransferRate& rate) {
  if (ranks <= 1) return Seconds(0);
  const auto size = static_cast<double>(bytes.value());
  const double hops = 2.0 * (ranks - 1);
  const Seconds ring = rate.latency * hops + Seconds(Over(hops / ranks * size, rate.pinned.value()));
  const double levels = std::bit_width(static_cast<unsigned>(ranks - 1));
  const Seconds tree = rate.latency * (2 * levels) + Seconds(Over(2 * size, rate.pinned.value()));
  return rate.start + std::min(ring, tree);
}

}  // namespace stowage
