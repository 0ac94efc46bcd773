#include "planner/cost/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include "planner/cost/cost.h"
#include "planner/realize/kernel.h"

namespace stowage {
namespace {

// One constant: the grid it starts from and the smallest step, as factors.
struct Axis {
  double from, to;
  int points;  // geometric, ends included
};

template <std::size_t N>
using Point = std::array<double, N>;

double OnGrid(const Axis& axis, int i) {
  return axis.points == 1 ? axis.from : axis.from * std::pow(axis.to / axis.from, 1.0 * i / (axis.points - 1));
}

template <std::size_t N, class Error>
std::pair<Point<N>, double> BestOfGrid(const std::array<Axis, N>& axes, const Error& error) {
  Point<N> best = {}, at = {};
  double least = HUGE_VAL;
  std::array<int, N> index = {};
  for (;;) {
    for (std::size_t d = 0; d < N; ++d) at[d] = OnGrid(axes[d], index[d]);
    if (const double e = error(at); e < least) {
      least = e;
      best = at;
    }
    std::size_t d = 0;
    while (d < N && ++index[d] == axes[d].points) index[d++] = 0;
    if (d == N) return {best, least};
  }
}

// Each constant times or over its factor, as long as that helps; then with the square root of the factor.
template <std::size_t N, class Error>
Point<N> Refined(Point<N> at, double least, const Error& error) {
  constexpr double kFinest = 1.0005;
  for (double factor = 1.2; factor > kFinest;) {
    bool better = false;
    for (std::size_t d = 0; d < N; ++d) {
      for (const double f : {factor, 1 / factor}) {
        Point<N> moved = at;
        moved[d] *= f;
        if (const double e = error(moved); e < least) {
          least = e;
          at = moved;
          better = true;
        }
      }
    }
    if (!better) factor = std::sqrt(factor);
  }
  return at;
}

template <std::size_t N, class Error>
Point<N> Minimize(const std::array<Axis, N>& axes, const Error& error) {
  const auto [start, least] = BestOfGrid(axes, error);
  return Refined(start, least, error);
}

ComputeRate WithConstants(ComputeRate rate, const Point<4>& x) {
  rate.flops_efficiency = x[0];
  rate.memory_efficiency = x[1];
  rate.smoothness = x[2];
  rate.launch = Seconds(x[3]);
  return rate;
}

TransferRate Ring(const Point<3>& x) {
  TransferRate rate;
  rate.start = Seconds(x[0]);
  rate.latency = Seconds(x[1]);
  rate.pinned = rate.pageable = BytesPerSecond(x[2]);
  return rate;
}

}  // namespace

double MeanError(std::span<const MeasuredKernel> points, const ComputeRate& rate, DType dtype) {
  double sum = 0;
  Kernel kernel{.kind = KernelKind::kOpaque, .dtype = dtype};
  for (const MeasuredKernel& point : points) {
    kernel.flops = {point.flops};
    kernel.bytes = {static_cast<std::int64_t>(point.bytes)};
    sum += std::abs(Duration(kernel, 0, rate).value() / point.time.value() - 1);
  }
  return points.empty() ? 0 : sum / static_cast<double>(points.size());
}

ComputeRate FitRoofline(std::span<const MeasuredKernel> points, ComputeRate rate, DType dtype) {
  if (points.size() < 4) return rate;
  constexpr std::array<Axis, 4> kAxes = {{{0.2, 1.1, 10}, {0.3, 1.1, 8}, {1, 8, 5}, {0.5e-6, 32e-6, 7}}};
  const auto error = [&](const Point<4>& x) {
    // A smoothness below 1 would be slower than doing both one after the other.
    return x[2] < 1 ? HUGE_VAL : MeanError(points, WithConstants(rate, x), dtype);
  };
  return WithConstants(rate, Minimize(kAxes, error));
}

double MeanError(std::span<const MeasuredAllReduce> points, const TransferRate& rate) {
  double sum = 0;
  for (const MeasuredAllReduce& p : points)
    sum += std::abs(AllReduceDuration(p.bytes, p.ranks, rate).value() / p.time.value() - 1);
  return points.empty() ? 0 : sum / static_cast<double>(points.size());
}

TransferRate FitAllReduce(std::span<const MeasuredAllReduce> points) {
  constexpr std::array<Axis, 3> kAxes = {{{1e-6, 100e-6, 9}, {0.1e-6, 20e-6, 6}, {5e9, 1000e9, 12}}};
  return Ring(Minimize(kAxes, [&](const Point<3>& x) { return MeanError(points, Ring(x)); }));
}

}  // namespace stowage
