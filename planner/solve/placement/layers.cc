#include "planner/solve/placement/layers.h"

#include <emmintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace stowage::placement {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();
constexpr int kWide = 2;  // doubles in an SSE2 register; the layers of a state are a multiple of it

// to[k] = min(to[k], more + from[k]) for the first `layers`.
void Lower(double more, const double* from, int layers, double* to) {
  const __m128d all = _mm_set1_pd(more);
  int k = 0;
  for (; k + kWide <= layers; k += kWide) {
    _mm_storeu_pd(to + k, _mm_min_pd(_mm_add_pd(all, _mm_loadu_pd(from + k)), _mm_loadu_pd(to + k)));
  }
  for (; k < layers; ++k) to[k] = std::min(to[k], more + from[k]);
}

class Pass {
 public:
  Pass(const Tables& t, Levels levels, const Band& band)
      : t_(t),
        levels_(levels),
        band_(band),
        layers_((levels.Of(t.host_room) + kWide) / kWide * kWide),
        states_(t.devices, t.n, layers_, kNone) {
    for (int q = 0; q < t.devices; ++q) tails_.push_back(TailsOf(t, q, band.rest));
  }

  LayeredStates Rest() {
    const int d = t_.devices, n = t_.n;
    for (int p = -1; p < d; ++p) {
      std::fill_n(states_.Cpu(p, n), layers_, 0.0);
      if (p >= 0) std::fill_n(states_.Gpu(p, n), layers_, 0.0);
    }
    std::vector<RunRow> rows = RowsOf(t_);
    for (int i = n - 1; i >= 0; --i) {
      ForRuns(rows, i, [&](int q, int e, double run) { Lower(run, states_.Gpu(q, e), layers_, states_.Enter(q, i)); });
      Leave(i);
    }
    return std::move(states_);
  }

  LayeredStates Progress() {
    const int d = t_.devices;
    std::fill_n(states_.Cpu(-1, 0), layers_, 0.0);
    std::vector<RunRow> rows = RowsOf(t_);
    for (int i = 0; i < t_.n; ++i) {
      Arrive(i);
      ForRuns(rows, i, [&](int q, int e, double run) { Lower(run, states_.Enter(q, i), layers_, states_.Gpu(q, e)); });
      for (int p = -1; p < d; ++p) {
        Compute(i, Hop(d, d, i), states_.Cpu(p, i), states_.Cpu(p, i + 1));
        if (p >= 0) Compute(i, Hop(p, d, i), states_.Gpu(p, i), states_.Cpu(p, i + 1));
      }
    }
    return std::move(states_);
  }

 private:
  double Value(Time time) const { return static_cast<double>(time >> levels_.shift); }
  double Hop(int from, int to, int i) const { return Value(t_.hop[from][to][i]); }

  // The runs within the band that start with unit i.
  template <typename Each>
  void ForRuns(std::vector<RunRow>& rows, int i, Each each) {
    for (RunRow& row : rows) {
      if (!AnyOpen(t_, row, i)) continue;
      row.MoveTo(i);
      for (int q = row.device(); q < t_.devices; ++q) {
        if (t_.device_class[q] != row.device() || !t_.Open(q, i)) continue;
        const Time enter = *band_.before.Enter(q, i);
        if (enter >= band_.below) continue;
        const Time within = std::min(band_.below - enter - row.Base(), kInfinite);
        const Time* streamed = row.Streamed();
        const Time* tail = &tails_[q][i];
        for (int length = 1; length <= row.last() - i; ++length) {
          if (streamed[length] + tail[length] < within) each(q, i + length, Value(row.At(i + length)));
        }
      }
    }
  }

  // Unit i on the CPU: from the states on one side of it to those on the other.
  void Compute(int i, double hop, const double* from, double* to) {
    const Time on_cpu = OnCpu(t_, i);
    const int levels = levels_.Of(t_.weights[i] + t_.state[i]);
    if (on_cpu < kInfinite && levels < layers_) Lower(hop + Value(on_cpu), from, layers_ - levels, to + levels);
  }

  // The states before unit i, once those of all devices that start with it are known.
  void Leave(int i) {
    const int d = t_.devices;
    std::vector<double> any(layers_, kNone);  // from the CPU into the devices after p
    for (int p = d - 1; p >= -1; --p) {
      if (p + 1 < d) Lower(Hop(d, p + 1, i), states_.Enter(p + 1, i), layers_, any.data());
      std::copy(any.begin(), any.end(), states_.Cpu(p, i));
      Compute(i, Hop(d, d, i), states_.Cpu(p, i + 1), states_.Cpu(p, i));
      if (p < 0) continue;
      if (HopsAlikeFrom(t_, p, i)) {
        std::copy(any.begin(), any.end(), states_.Gpu(p, i));
      } else {
        for (int q = p + 1; q < d; ++q) Lower(Hop(p, q, i), states_.Enter(q, i), layers_, states_.Gpu(p, i));
      }
      Compute(i, Hop(p, d, i), states_.Cpu(p, i + 1), states_.Gpu(p, i));
    }
  }

  // The devices about to start with unit i, given the states up to there.
  void Arrive(int i) {
    const int d = t_.devices;
    std::vector<double> any(states_.Cpu(-1, i), states_.Cpu(-1, i) + layers_);  // after the devices before q
    for (int q = 0; q < d; ++q) {
      if (HopsAlikeInto(t_, q, i)) {
        Lower(Hop(d, q, i), any.data(), layers_, states_.Enter(q, i));
      } else {
        for (int p = -1; p < q; ++p) {
          Lower(Hop(d, q, i), states_.Cpu(p, i), layers_, states_.Enter(q, i));
          if (p >= 0) Lower(Hop(p, q, i), states_.Gpu(p, i), layers_, states_.Enter(q, i));
        }
      }
      Lower(0, states_.Cpu(q, i), layers_, any.data());
      Lower(0, states_.Gpu(q, i), layers_, any.data());
    }
  }

  const Tables& t_;
  Levels levels_;
  const Band& band_;
  int layers_;
  LayeredStates states_;
  std::vector<std::vector<Time>> tails_;  // of runs on each device
};

}  // namespace

Time Levels::TimeOf(double value) const {
  return value < static_cast<double>(kInfinite >> shift) ? static_cast<Time>(value) << shift : kInfinite;
}

Levels LevelsOf(const Tables& t, bool fine, Time below) {
  constexpr std::int64_t kMostLayers = 128;
  if (!t.latency() || !t.host_binds) return {};
  std::map<std::int64_t, int> counts;
  for (int u = 0; u < t.n; ++u) {
    if (t.compute[t.devices][u] < kNever && t.weights[u] + t.state[u] > 0) ++counts[t.weights[u] + t.state[u]];
  }
  if (counts.empty()) return {};
  const std::int64_t commonest = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
                                   return a.second < b.second;
                                 })->first;
  Levels best;
  double least = 2;  // part of the commonest unit that some other one does not fill
  for (std::int64_t parts = 1; parts <= (fine ? 3 : 1) && t.host_room / commonest * parts < kMostLayers; ++parts) {
    const std::int64_t level = commonest / parts;
    if (level == 0) break;
    double most = 0;
    for (const auto& [bytes, count] : counts) {
      most = std::max(most, static_cast<double>(bytes % level) / static_cast<double>(commonest));
    }
    if (most < 0.9 * least) best.bytes = level;
    least = std::min(least, most);
  }
  // Doubles are exact up to 2^53.
  while ((below >> best.shift) >= Time{1} << 52) ++best.shift;
  return best;
}

LayeredStates LayeredRest(const Tables& t, Levels levels, const Band& band) { return Pass(t, levels, band).Rest(); }

LayeredStates LayeredProgress(const Tables& t, Levels levels, const Band& band) {
  return Pass(t, levels, band).Progress();
}

}  // namespace stowage::placement
