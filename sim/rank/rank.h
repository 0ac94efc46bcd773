// Which strategy is best for a task: each one's candidates are lowered, simulated and compared. The executor never asks
// this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "planner/strategy/strategy.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct Pace {
  Seconds first_token;
  std::optional<Seconds> per_token;  // absent when the request makes one token or none
};

// One strategy with its best parameters.
struct Ranked {
  std::string name;
  std::string runtime;
  std::string parameters;  // of the best candidate
  bool fits = false;
  std::string why_not;                        // when it does not fit
  bool refused = false;                       // not for want of memory: parameters, or a model it cannot run
  std::optional<Bytes> smallest_gpu_budget;   // with the other pools as they are
  std::vector<Bytes> smallest_gpu_budgets;    // by GPU, of what uses several (gpu_share.h); empty: not known
  std::optional<Bytes> smallest_host_budget;  // likewise; when it does not fit
  Timeline timeline;                          // of the sample, when it was lowered
  std::optional<Plan> plan;                   // likewise; that of the whole run
  Seconds first_token;
  std::optional<Seconds> per_token;  // absent when the request makes one token or none
  std::string limit;                 // what sets the pace: "gpu0.h2d busy 97 %"
  // At the ends of the machine's intervals (planner/machine/spread.h); absent when there are none, it does not fit, or
  // nobody asked.
  std::optional<Pace> low, high;

  // The whole request: first token and all others.
  Seconds Total(const Request& request) const;
};

// Runs job(0) … job(count - 1), each once, in any order, possibly at the same time; returns when all have ended.
using ForEach = std::function<void(std::size_t count, const std::function<void(std::size_t)>& job)>;
void OneAfterTheOther(std::size_t count, const std::function<void(std::size_t)>& job);

enum class Intervals : std::uint8_t { kOfNone, kOfTheBest, kOfAll };

// Fitting ones first, fastest request first; the others after them in table order. The task's last_decode_passes is
// replaced: a sample of a few passes at the end of the context stands for all. Strategies are looked at by `for_each`:
// the simulator owns no threads, a tool may lend some. The result does not depend on it.
std::vector<Ranked> Rank(const std::vector<Strategy>& strategies, const PlanningTask& task,
                         const ForEach& for_each = OneAfterTheOther, Intervals intervals = Intervals::kOfAll);

// Lowers one strategy completely. Without parameters the best candidate by simulation is taken.
Result<Lowered> LowerBest(const Strategy& strategy, const PlanningTask& task, std::string_view parameters);

}  // namespace stowage
