#include "planner/strategy/torch/torch_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::size_t kNamed = 3;

class HostUse {
 public:
  HostUse(const Schedule& schedule, std::int32_t pool) : s_(schedule), pool_(pool), alive_(schedule.buffers.size()) {
    for (std::size_t b = 0; b < s_.buffers.size(); ++b) {
      if (s_.buffers[b].initial && s_.buffers[b].parent < 0) Add(static_cast<BufferId>(b), -1);
    }
    for (std::size_t i = 0; i < s_.steps.size(); ++i) {
      const Step& step = s_.steps[i];
      if (step.kind == StepKind::kAllocate) Add(step.buffer, static_cast<StepId>(i));
      if (step.kind == StepKind::kFree) Remove(step.buffer);
    }
  }

  Bytes peak() const { return peak_; }
  StepId peak_step() const { return peak_step_; }

  // Alive at the peak: the walk once more, up to it.
  std::vector<BufferId> AtPeak() const {
    std::vector<bool> alive(s_.buffers.size());
    for (std::size_t b = 0; b < s_.buffers.size(); ++b)
      alive[b] = Counts(static_cast<BufferId>(b)) && s_.buffers[b].initial;
    for (StepId i = 0; i <= peak_step_; ++i) {
      const Step& step = s_.steps[i];
      if (step.kind == StepKind::kAllocate) alive[step.buffer] = Counts(step.buffer);
      if (step.kind == StepKind::kFree) alive[step.buffer] = false;
    }
    std::vector<BufferId> out;
    for (std::size_t b = 0; b < alive.size(); ++b) {
      if (alive[b]) out.push_back(static_cast<BufferId>(b));
    }
    return out;
  }

 private:
  bool Counts(BufferId id) const { return s_.buffers[id].pool == pool_ && s_.buffers[id].parent < 0; }

  void Add(BufferId id, StepId step) {
    if (!Counts(id) || alive_[id]) return;
    alive_[id] = true;
    now_ += Bytes(s_.buffers[id].bytes.base);
    if (now_ <= peak_) return;
    peak_ = now_;
    peak_step_ = step;
  }

  void Remove(BufferId id) {
    if (!alive_[id]) return;
    alive_[id] = false;
    now_ -= Bytes(s_.buffers[id].bytes.base);
  }

  const Schedule& s_;
  const std::int32_t pool_;
  std::vector<bool> alive_;
  Bytes now_, peak_;
  StepId peak_step_ = -1;
};

std::string PhaseOf(const Schedule& schedule, StepId step) {
  for (const Phase& phase : schedule.phases) {
    if (step < phase.epilogue.end) return phase.name;
  }
  return "load";
}

// "weights 26.95 GB, staging 26.95 GB; largest: lm_head.weight@host 524.3 MB, …"
std::string WhatIsAlive(const Schedule& schedule, std::vector<BufferId> alive) {
  std::map<BufferKind, Bytes> kinds;
  const auto bytes = [&](BufferId id) { return Bytes(schedule.buffers[id].bytes.base); };
  for (const BufferId id : alive) kinds[schedule.buffers[id].kind] += bytes(id);
  std::vector<std::pair<Bytes, std::string_view>> sorted;
  for (const auto& [kind, sum] : kinds) sorted.emplace_back(sum, Name(kind));
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> parts, names;
  for (const auto& [sum, kind] : sorted) parts.push_back(fmt::format("{} {}", kind, FormatBytes(sum)));
  std::stable_sort(alive.begin(), alive.end(), [&](BufferId a, BufferId b) { return bytes(a) > bytes(b); });
  if (alive.size() > kNamed) alive.resize(kNamed);
  for (const BufferId id : alive)
    names.push_back(fmt::format("{} {}", schedule.buffers[id].name, FormatBytes(bytes(id))));
  return fmt::format("{}; largest: {}", Join(parts, ", "), Join(names, ", "));
}

}  // namespace

Status CheckHostBudget(const Schedule& schedule) {
  for (std::size_t p = 0; p < schedule.pools.size(); ++p) {
    const PoolUse& pool = schedule.pools[p];
    if (pool.allocator != Allocator::kPageable || pool.budget <= Bytes(0)) continue;
    const HostUse use(schedule, static_cast<std::int32_t>(p));
    if (use.peak() <= pool.budget) continue;
    const StepId step = use.peak_step();
    const std::string at =
        step < 0 ? "from the start" : fmt::format("in {} at '{}'", PhaseOf(schedule, step), schedule.StepName(step));
    return Error{ErrorCode::kInfeasible,
                 fmt::format("{} peak {} {}, over the budget of {}: {}. {} bytes of {} would do", pool.name,
                             FormatBytes(use.peak()), at, FormatBytes(pool.budget), WhatIsAlive(schedule, use.AtPeak()),
                             FormatCount(use.peak().value()), pool.name == "host" ? "host memory" : "disk")};
  }
  return OkStatus();
}

}  // namespace stowage
