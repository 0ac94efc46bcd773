// Intervals of the constants that stand for a class of hardware and not for the very part at hand, and the machine at
// either end of them: a prediction under both ends is what "low" and "high" of a result mean.
//
//   card, own measurement or fit   exact
//   card, efficiency of its class  FLOPS 0.77 to 1.03 and bandwidth 0.85 to 1.03 of what the fit expects: the lowest
//                                  measured card of the table (B200's 78 % of its peak, A100's and H200's 81 % of their
//                                  bandwidth), and the peak itself. The T4 is no member: 70 W throttle it to a third
//   a bare size                    from the slowest to the fastest card of the table with 0.8 to 1.5 times that memory;
//                                  the link also at half its lanes
//   host link, not measured there  0.5 (half the lanes: cloud slots, second slots of desktops) to 1.06 (13.1 of 12.4)
//   disk                           0.19 (SATA, 0.55 GB/s) to 2.4 (PCIe 4.0, 7 GB/s)
//   host memory and cores          half a channel pair to a server: 0.5 to 5 and 0.25 to 10
//   dispatch                       0.75 to 1.17 of the time: the 9-14 us of single eager kernels
//   CUDA context                   from 256 MiB on (build_machine.h)
#pragma once

#include <string>
#include <string_view>

#include "planner/machine/hardware_table.h"
#include "planner/machine/machine.h"

namespace stowage {

inline constexpr Spread kClassFlops = {0.77, 1.03};
inline constexpr Spread kClassMemory = {0.85, 1.03};
inline constexpr Spread kAssumedLink = {0.5, 1.06};
inline constexpr Spread kAssumedDiskRate = {0.19, 2.4};
inline constexpr Spread kAssumedDram = {0.5, 5};
inline constexpr Spread kAssumedCores = {0.25, 10};
inline constexpr Spread kAssumedDispatch = {0.75, 1.17};  // of times
inline constexpr Bytes kLeastCudaContext{256 * 1'048'576};

struct CardSpread {
  Spread flops, memory, link;
};
// `budget` matters only where a size is all that is known of the card (the row "generic").
CardSpread SpreadOf(const CardRow& row, Bytes budget);

// Every rate at the high end of its interval, every cost and reservation at its low one; AtWorst the other way round
// (reservations are at their largest already). Intervals of the result are exact.
Machine AtBest(const Machine& machine);
Machine AtWorst(const Machine& machine);
bool HasIntervals(const Machine& machine);

// One resource `factor` times as fast: its rates, and what its kernels cost beside their work. Latencies stay.
Machine Faster(const Machine& machine, std::string_view resource, double factor);

// "Intervals: gpu0.sm 0.77 to 1.03 of its FLOPS and …", for Machine::assumptions; "" without intervals.
std::string IntervalSentence(const Machine& machine);

}  // namespace stowage
