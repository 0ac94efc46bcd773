#include "sim/engine/referee.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>

namespace stowage {
namespace {

struct Exec {
  StepId step = -1;
  std::int64_t iteration = 0;
  int section = 0;
  double cost = 0;
  std::vector<std::size_t> deps;
  std::vector<std::size_t> group;  // with itself; a job alone: itself
  bool issued = false, started = false, ended = false;
  double issued_at = 0, start = 0, end = 0;
  double left = 1;  // of the duration
};

class Court {
 public:
  Court(const Schedule& schedule, double launch, const std::vector<bool>& shared)
      : s_(schedule),
        shared_(shared),
        clock_(schedule.issuers.size()),
        position_(schedule.issuers.size()),
        blocked_(schedule.issuers.size(), kNobody),
        program_(schedule.issuers.size()) {
    Unroll(launch);
  }

  RefereeResult Judge() {
    for (;;) {
      bool changed = true;
      while (changed) {
        changed = End();
        changed = Issue() || changed;
        changed = Start() || changed;
      }
      const double next = Next();
      if (next == std::numeric_limits<double>::infinity()) break;
      for (const std::size_t e : Running()) {
        if (Speeded(e)) execs_[e].left -= (next - now_) / SecondsOf(e);
      }
      now_ = next;
    }
    return Verdict();
  }

 private:
  static constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

  static bool IsJob(StepKind k) {
    return k == StepKind::kRead || k == StepKind::kCopy || k == StepKind::kCompute || k == StepKind::kReduce;
  }
  const Step& StepOf(std::size_t e) const { return s_.steps[static_cast<std::size_t>(execs_[e].step)]; }

  void Unroll(double launch) {
    int section_number = 0;
    std::map<StepId, int> section_of;
    std::map<StepId, std::int64_t> count;
    for (const Phase& phase : s_.phases) {
      for (const Section* section : {&phase.prologue, &phase.body, &phase.epilogue}) {
        ++section_number;
        const std::int64_t n = section == &phase.body ? phase.iterations : 1;
        for (std::int64_t i = 0; i < n; ++i) {
          std::set<std::int32_t> paid;
          std::map<std::int32_t, std::vector<std::size_t>> groups;
          for (StepId id = section->begin; id < section->end; ++id) {
            const Step& step = s_.steps[static_cast<std::size_t>(id)];
            section_of[id] = section_number;
            count[id] = n;
            Exec exec{.step = id, .iteration = i, .section = section_number};
            const bool captured = phase.captured && section == &phase.body;
            if (captured) {
              exec.cost = paid.insert(step.issuer).second ? launch : 0;
            } else {
              exec.cost = IsJob(step.kind) ? launch : 0;
            }
            const std::size_t e = execs_.size();
            index_[{id, i}] = e;
            execs_.push_back(exec);
            program_[static_cast<std::size_t>(step.issuer)].push_back(e);
            if (step.kind == StepKind::kReduce) groups[step.group].push_back(e);
            execs_[e].group = {e};
          }
          for (const auto& [id, members] : groups) {
            for (const std::size_t e : members) execs_[e].group = members;
          }
        }
      }
    }
    for (Exec& exec : execs_) {
      const Step& step = s_.steps[static_cast<std::size_t>(exec.step)];
      std::vector<StepRef> refs = step.after;
      if (step.kind == StepKind::kWait) refs = {step.target};
      for (const StepRef& ref : refs) {
        if (section_of.count(ref.step) == 0) continue;
        const bool inside = section_of[ref.step] == exec.section;
        const std::int64_t i = inside ? exec.iteration - ref.back : count[ref.step] - 1;
        if (const auto it = index_.find({ref.step, i}); it != index_.end()) exec.deps.push_back(it->second);
      }
    }
  }

  std::vector<std::size_t> Running() const {
    std::vector<std::size_t> out;
    for (std::size_t e = 0; e < execs_.size(); ++e) {
      if (execs_[e].started && !execs_[e].ended) out.push_back(e);
    }
    return out;
  }

  bool Speeded(std::size_t e) const {
    for (const std::size_t m : execs_[e].group) {
      for (const std::int16_t r : StepOf(m).resources) {
        if (r >= 0 && shared_[static_cast<std::size_t>(r)]) return true;
      }
    }
    return false;
  }

  double SecondsOf(std::size_t e) const {
    double longest = 0;
    for (const std::size_t m : execs_[e].group) {
      int crowd = 1;
      for (const std::int16_t r : StepOf(m).resources) {
        if (r < 0 || !shared_[static_cast<std::size_t>(r)]) continue;
        int users = 0;
        for (const std::size_t other : Running()) {
          const auto& used = StepOf(other).resources;
          users += std::find(used.begin(), used.end(), r) != used.end();
        }
        crowd = std::max(crowd, users);
      }
      longest = std::max(longest, StepOf(m).fixed->value() * crowd);
    }
    return longest;
  }

  double EndOf(std::size_t e) const {
    const Exec& exec = execs_[e];
    return Speeded(e) ? now_ + std::max(0.0, exec.left) * SecondsOf(e) : exec.start + SecondsOf(e);
  }

  bool End() {
    std::vector<std::size_t> over;
    for (const std::size_t e : Running()) {
      if (Speeded(e) ? execs_[e].left * SecondsOf(e) < 1e-12 : EndOf(e) <= now_) over.push_back(e);
    }
    for (const std::size_t e : over) {
      execs_[e].ended = true;
      execs_[e].end = now_;
    }
    return !over.empty();
  }

  bool Issue() {
    bool changed = false;
    for (std::size_t t = 0; t < program_.size(); ++t) {
      while (position_[t] < program_[t].size()) {
        const std::size_t e = program_[t][position_[t]];
        Exec& exec = execs_[e];
        const Step& step = StepOf(e);
        if (blocked_[t] != kNobody) {
          if (!execs_[blocked_[t]].ended) break;
          clock_[t] = std::max(clock_[t], execs_[blocked_[t]].end);
          blocked_[t] = kNobody;
          if (exec.issued) {  // a Wait that is over
            exec.started = exec.ended = true;
            exec.start = exec.end = clock_[t];
            ++position_[t];
          }
          changed = true;
          continue;
        }
        if (clock_[t] + exec.cost > now_) break;
        clock_[t] = exec.issued_at = clock_[t] + exec.cost;
        exec.issued = true;
        changed = true;
        if (IsJob(step.kind)) {
          if (step.queue >= 0) entered_[step.queue].push_back(e);
          if (step.queue < 0) entered_[-1 - static_cast<std::int32_t>(t)].push_back(e);
          if (step.blocking || step.queue < 0) blocked_[t] = e;
          ++position_[t];
        } else if (exec.deps.empty()) {
          exec.started = exec.ended = true;
          exec.start = exec.end = clock_[t];
          ++position_[t];
        } else {
          blocked_[t] = exec.deps[0];
        }
      }
    }
    return changed;
  }

  // When it became ready, or a negative number.
  double ReadyAt(std::size_t e) const {
    const Exec& exec = execs_[e];
    if (!exec.issued) return -1;
    double at = exec.issued_at;
    const Step& step = StepOf(e);
    const std::int32_t queue = step.queue >= 0 ? step.queue : -1 - step.issuer;
    for (const std::size_t before : entered_.at(queue)) {
      if (before == e) break;
      if (!execs_[before].ended) return -1;
      at = std::max(at, execs_[before].end);
    }
    for (const std::size_t d : exec.deps) {
      if (!execs_[d].ended) return -1;
      at = std::max(at, execs_[d].end);
    }
    return at;
  }

  bool Start() {
    std::vector<std::tuple<double, double, std::size_t>> waiting;
    for (std::size_t e = 0; e < execs_.size(); ++e) {
      if (!IsJob(StepOf(e).kind) || execs_[e].started || execs_[e].group[0] != e) continue;
      double ready = 0, issued = 0;
      bool all = true;
      for (const std::size_t m : execs_[e].group) {
        all = all && ReadyAt(m) >= 0;
        ready = std::max(ready, ReadyAt(m));
        issued = std::max(issued, execs_[m].issued_at);
      }
      if (all) waiting.emplace_back(ready, issued, e);
    }
    std::sort(waiting.begin(), waiting.end());
    bool changed = false;
    for (const auto& [ready, issued, e] : waiting) {
      bool free = true;
      for (const std::size_t m : execs_[e].group) {
        for (const std::int16_t r : StepOf(m).resources) {
          if (r < 0 || shared_[static_cast<std::size_t>(r)]) continue;
          for (const std::size_t other : Running()) {
            const auto& used = StepOf(other).resources;
            if (std::find(used.begin(), used.end(), r) != used.end()) free = false;
          }
        }
      }
      if (!free) continue;
      for (const std::size_t m : execs_[e].group) {
        execs_[m].started = true;
        execs_[m].start = now_;
      }
      changed = true;
    }
    return changed;
  }

  double Next() const {
    double next = std::numeric_limits<double>::infinity();
    for (const std::size_t e : Running()) next = std::min(next, EndOf(e));
    for (std::size_t t = 0; t < program_.size(); ++t) {
      if (position_[t] >= program_[t].size() || blocked_[t] != kNobody) continue;
      next = std::min(next, clock_[t] + execs_[program_[t][position_[t]]].cost);
    }
    return next;
  }

  RefereeResult Verdict() const {
    RefereeResult result;
    std::vector<std::size_t> order;
    for (std::size_t e = 0; e < execs_.size(); ++e) {
      order.push_back(e);
      if (!execs_[e].ended) result.stuck = true;
    }
    std::stable_sort(order.begin(), order.end(),
                     [this](std::size_t a, std::size_t b) { return execs_[a].issued_at < execs_[b].issued_at; });
    for (const std::size_t e : order) {
      const Exec& x = execs_[e];
      result.spans.push_back({x.step, x.iteration, Seconds(x.issued_at), Seconds(x.start), Seconds(x.end)});
    }
    return result;
  }

  const Schedule& s_;
  const std::vector<bool>& shared_;
  std::vector<Exec> execs_;
  std::map<std::pair<StepId, std::int64_t>, std::size_t> index_;
  std::map<std::int32_t, std::vector<std::size_t>> entered_;  // by queue, in order of entry
  std::vector<double> clock_;
  std::vector<std::size_t> position_;
  std::vector<std::size_t> blocked_;
  std::vector<std::vector<std::size_t>> program_;
  double now_ = 0;
};

}  // namespace

RefereeResult Referee(const Schedule& schedule, double native_launch, const std::vector<bool>& resource_shared) {
  return Court(schedule, native_launch, resource_shared).Judge();
}

}  // namespace stowage
