#include "planner/strategy/native/loop.h"

#include <algorithm>

namespace stowage {
namespace {

PassLoop::Range RangeOf(const RingOrder& order, std::int32_t first_pass, std::int32_t passes) {
  return {order.begin[first_pass], order.begin[first_pass + passes], first_pass, passes};
}

// Whether b's steps are a's, one group later: the same copies and launches, the same references except those that leave
// a.
bool Repeats(const RingOrder& order, const PassLoop::Range& a, const PassLoop::Range& b) {
  if (a.end - a.begin != b.end - b.begin) return false;
  const std::int32_t shift = b.begin - a.begin;
  for (std::int32_t i = a.begin; i < a.end; ++i) {
    const RingStep& x = order.steps[i];
    const RingStep& y = order.steps[i + shift];
    if (x.copy != y.copy || x.index != y.index || x.pass - a.first_pass != y.pass - b.first_pass) return false;
    for (const std::int32_t r : y.after) {
      if (r < a.begin) return false;  // reaches back further than one iteration
    }
  }
  return true;
}

PassLoop Unrolled(RingOrder order, std::int32_t passes) {
  PassLoop loop;
  loop.prefill = RangeOf(order, 0, 1);
  loop.epilogue = passes > 0 ? RangeOf(order, 1, passes) : PassLoop::Range{};
  loop.epilogue_passes = passes;
  loop.steps = std::move(order.steps);
  return loop;
}

}  // namespace

Result<PassLoop> FindLoop(const PassUnits& prefill, const PassUnits& decode, const RingOffsets& offsets, Bytes ring,
                          std::int64_t passes) {
  const std::int32_t period = offsets.period;
  for (std::int32_t groups = 0; groups <= 3; ++groups) {
    const std::int64_t rest = passes - static_cast<std::int64_t>(period) * groups;
    if (rest < 2 * period + 1) break;
    const auto tail =
        static_cast<std::int32_t>((rest - 1) % period + 1);  // the last passes, 1..period of them, run no copies ahead
    const std::int64_t iterations = (rest - tail) / period;
    STOWAGE_TRY(RingOrder order, OrderRing(prefill, decode, offsets, ring, period * (groups + 2) + tail));
    PassLoop loop;
    loop.prefill = RangeOf(order, 0, 1);
    loop.prologue = RangeOf(order, 1, period * groups);
    loop.body = RangeOf(order, 1 + period * groups, period);
    const PassLoop::Range steady = RangeOf(order, 1 + period * (groups + 1), period);
    loop.epilogue = RangeOf(order, 1 + period * (groups + 2), tail);
    if (!Repeats(order, loop.body, steady)) continue;
    loop.period = period;
    loop.prologue_passes = period * groups;
    loop.epilogue_passes = tail;
    loop.iterations = iterations;
    loop.steps = std::move(order.steps);
    return loop;
  }
  const auto count = static_cast<std::int32_t>(passes);
  STOWAGE_TRY(RingOrder order, OrderRing(prefill, decode, offsets, ring, count));
  return Unrolled(std::move(order), count);
}

}  // namespace stowage
