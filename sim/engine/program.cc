#include "sim/engine/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "planner/cost/step_cost.h"

namespace stowage::sim {
namespace {

OpClass ClassOf(StepKind kind) {
  switch (kind) {
    case StepKind::kRead:
    case StepKind::kCopy:
    case StepKind::kCompute:
      return OpClass::kJob;
    case StepKind::kReduce:
      return OpClass::kReduce;
    case StepKind::kWait:
      return OpClass::kWait;
    case StepKind::kAllocate:
    case StepKind::kFree:
    case StepKind::kEmptyCache:
    case StepKind::kRecordStream:
      return OpClass::kMemory;
  }
  return OpClass::kMemory;
}

PoolKind KindOfPool(const Schedule& schedule, const Machine& machine, std::int32_t pool) {
  const std::string& name = schedule.pools[pool].name;
  if (const std::int32_t found = machine.FindPool(name); found >= 0) return machine.pools[found].kind;
  return name.starts_with("gpu") ? PoolKind::kGpu : name.starts_with("disk") ? PoolKind::kDisk : PoolKind::kHost;
}

class Compiler {
 public:
  Compiler(const Schedule& schedule, const Machine& machine) : schedule_(schedule), machine_(machine) {
    for (std::size_t p = 0; p < schedule.pools.size(); ++p) {
      kind_of_pool_.push_back(KindOfPool(schedule, machine, static_cast<std::int32_t>(p)));
    }
  }

  Result<Program> Compile() {
    STOWAGE_TRY(program_.resources, BindResources(schedule_, machine_));
    program_.schedule = &schedule_;
    program_.queues = static_cast<std::int32_t>(schedule_.queues.size() + schedule_.issuers.size());
    STOWAGE_RETURN_IF_ERROR(AddRuns());
    STOWAGE_RETURN_IF_ERROR(AddGroups());
    program_.ops.resize(schedule_.steps.size());
    const std::vector<bool> ends_phase = schedule_.EndsPhase();
    for (std::size_t s = 0; s < ends_phase.size(); ++s) program_.ops[s].ends_phase = ends_phase[s];
    for (const Run& run : program_.runs) {
      for (StepId s = run.begin; s < run.end; ++s) STOWAGE_RETURN_IF_ERROR(AddOp(s, run));
      if (schedule_.phases[run.phase].captured && run.body) Capture(run);
    }
    program_.forward = OnePassDoes();
    return std::move(program_);
  }

 private:
  Error Bad(StepId step, std::string what) const {
    return {ErrorCode::kInvalidInput, fmt::format("step {} '{}': {}", step, schedule_.StepName(step), what)};
  }

  Status AddRuns() {
    program_.run_of.assign(schedule_.steps.size(), -1);
    const auto size = static_cast<StepId>(schedule_.steps.size());
    for (std::size_t p = 0; p < schedule_.phases.size(); ++p) {
      const Phase& phase = schedule_.phases[p];
      const std::array<const Section*, 3> sections = {&phase.prologue, &phase.body, &phase.epilogue};
      for (int i = 0; i < 3; ++i) {
        const Section& section = *sections[i];
        if (section.begin < 0 || section.end > size || section.begin > section.end) {
          return Error{ErrorCode::kInvalidInput, fmt::format("phase '{}' has steps [{}, {}) of {}", phase.name,
                                                             section.begin, section.end, size)};
        }
        const std::int64_t iterations = i == 1 ? phase.iterations : 1;
        if (iterations <= 0) continue;
        if (section.begin == section.end && section.passes == 0) continue;
        program_.runs.push_back({static_cast<std::int32_t>(p), section.begin, section.end, i == 1, iterations,
                                 section.passes, program_.executions});
        const std::int64_t length = section.end - section.begin;
        program_.executions += length * iterations;
        program_.longest_section = std::max(program_.longest_section, length);
        for (StepId s = section.begin; s < section.end; ++s) {
          program_.run_of[s] = static_cast<std::int32_t>(program_.runs.size()) - 1;
        }
      }
    }
    return OkStatus();
  }

  Status AddGroups() {
    program_.group_of.assign(schedule_.steps.size(), -1);
    std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> dense;  // by (run, group id)
    for (const Run& run : program_.runs) {
      for (StepId s = run.begin; s < run.end; ++s) {
        if (schedule_.steps[s].kind != StepKind::kReduce) continue;
        const auto [it, added] = dense.try_emplace({program_.run_of[s], schedule_.steps[s].group},
                                                   static_cast<std::int32_t>(program_.groups.size()));
        if (added) program_.groups.emplace_back();
        for (const StepId other : program_.groups[it->second]) {
          if (schedule_.steps[other].queue == schedule_.steps[s].queue) {
            return Bad(s, fmt::format("its group {} has another step in the same queue", schedule_.steps[s].group));
          }
        }
        program_.groups[it->second].push_back(s);
        program_.group_of[s] = it->second;
      }
    }
    return OkStatus();
  }

  Status AddOp(StepId s, const Run& run) {
    const Step& step = schedule_.steps[s];
    Op& op = program_.ops[s];
    op.kind = ClassOf(step.kind);
    op.step_kind = step.kind;
    if (step.issuer < 0 || step.issuer >= static_cast<std::int32_t>(schedule_.issuers.size())) {
      return Bad(s, fmt::format("no issuer {}", step.issuer));
    }
    if (step.queue >= static_cast<std::int32_t>(schedule_.queues.size())) {
      return Bad(s, fmt::format("no queue {}", step.queue));
    }
    op.issuer = step.issuer;
    const bool job = op.kind == OpClass::kJob || op.kind == OpClass::kReduce;
    op.blocking = job && (step.blocking || step.queue < 0);
    op.queue = step.queue >= 0 ? step.queue : static_cast<std::int32_t>(schedule_.queues.size()) + step.issuer;
    const std::int32_t pool = step.pool >= 0 ? step.pool : step.buffer >= 0 ? schedule_.buffers[step.buffer].pool : -1;
    const bool known = pool >= 0 && static_cast<std::size_t>(pool) < kind_of_pool_.size();
    const PoolKind kind = known ? kind_of_pool_[static_cast<std::size_t>(pool)] : PoolKind::kHost;
    const Bytes bytes = step.buffer >= 0 ? schedule_.buffers[step.buffer].bytes.at(0) : Bytes(0);
    op.dispatch = IssueCost(machine_.dispatch, schedule_.issuers[step.issuer].kind, step, kind, bytes).value();
    if (program_.group_of[s] >= 0) op.group_last = program_.groups[program_.group_of[s]].back() == s;
    if (job) STOWAGE_RETURN_IF_ERROR(AddResources(s, step, op, run));
    op.first_dep = static_cast<std::int32_t>(program_.deps.size());
    if (job) {
      for (const StepRef& ref : step.after) STOWAGE_RETURN_IF_ERROR(AddDep(s, ref, run));
    }
    if (op.kind == OpClass::kWait) STOWAGE_RETURN_IF_ERROR(AddDep(s, step.target, run));
    op.deps = static_cast<std::int16_t>(program_.deps.size() - op.first_dep);
    return OkStatus();
  }

  Status AddResources(StepId s, const Step& step, Op& op, const Run& run) {
    int used = 0;
    for (const std::int16_t r : step.resources) {
      if (r >= static_cast<std::int16_t>(program_.resources.size())) return Bad(s, fmt::format("no resource {}", r));
      if (r < 0 || std::find(op.resources.begin(), op.resources.begin() + used, r) != op.resources.begin() + used) {
        continue;
      }
      op.resources[used++] = r;
      op.shares |= program_.resources[r]->shared;
    }
    op.varies = run.iterations > 1 && DependsOnIteration(schedule_, step);
    op.duration = program_.DurationOf(s, 0);
    STOWAGE_RETURN_IF_ERROR(CheckSeconds(s, op.duration, 0));
    if (!op.varies) return OkStatus();  // else affine work: the extremes are at the ends
    return CheckSeconds(s, program_.DurationOf(s, run.iterations - 1), run.iterations - 1);
  }

  Status CheckSeconds(StepId s, double seconds, std::int64_t iteration) const {
    if (std::isfinite(seconds) && seconds >= 0) return OkStatus();
    return Bad(s, fmt::format("takes {} s in iteration {} on machine '{}'", seconds, iteration, machine_.name));
  }

  Status AddDep(StepId s, const StepRef& ref, const Run& run) {
    if (ref.step < 0 || ref.step >= static_cast<StepId>(schedule_.steps.size())) {
      return Bad(s, fmt::format("refers to step {} of {}", ref.step, schedule_.steps.size()));
    }
    const bool inside = ref.step >= run.begin && ref.step < run.end;
    if (ref.back < 0 || ref.back > 1) return Bad(s, fmt::format("refers {} iterations back", ref.back));
    if (ref.step >= s && !(inside && ref.back == 1)) {
      return Bad(s, fmt::format("refers to step {}, which is not before it", ref.step));
    }
    if (inside && ref.back == 1 && run.iterations == 1) return OkStatus();
    if (program_.run_of[ref.step] < 0) return OkStatus();  // a body that runs 0 times
    if (!inside) {
      program_.deps.push_back({ref.step, Dep::kLast, true});
    } else if (ref.back == 0) {
      program_.deps.push_back({ref.step, Dep::kSame, true});
    } else {
      program_.deps.push_back({ref.step, Dep::kPrevious, ref.step >= s});
    }
    return OkStatus();
  }

  // One launch per iteration and issuer.
  void Capture(const Run& run) {
    std::set<std::int32_t> paid;
    for (StepId s = run.begin; s < run.end; ++s) {
      const bool first = paid.insert(program_.ops[s].issuer).second;
      program_.ops[s].dispatch = first ? machine_.dispatch.native_launch.value() : 0;
    }
  }

  bool OnePassDoes() const;

  const Schedule& schedule_;
  const Machine& machine_;
  std::vector<PoolKind> kind_of_pool_;  // by index into Schedule::pools
  Program program_;
};

// See forward.cc for why this suffices.
bool Compiler::OnePassDoes() const {
  std::vector<std::int32_t> issuer_of_queue(program_.queues, -1);
  std::vector<std::int32_t> queue_of_resource(program_.resources.size(), -1);
  std::int32_t memory_issuer = -1;
  std::vector<bool> issues(schedule_.issuers.size());
  bool synchronises = false;
  const auto one_owner = [](std::int32_t& owner, std::int32_t who) {
    if (owner < 0) owner = who;
    return owner == who;
  };
  for (const Run& run : program_.runs) {
    for (StepId s = run.begin; s < run.end; ++s) {
      const Op& op = program_.ops[s];
      issues[static_cast<std::size_t>(op.issuer)] = true;
      synchronises |= op.step_kind == StepKind::kEmptyCache;
      if (op.kind == OpClass::kMemory && !one_owner(memory_issuer, op.issuer)) return false;
      if (op.kind != OpClass::kJob && op.kind != OpClass::kReduce) continue;
      if (op.shares || !one_owner(issuer_of_queue[op.queue], op.issuer)) return false;
      for (const std::int16_t r : op.resources) {
        if (r >= 0 && !one_owner(queue_of_resource[r], op.queue)) return false;
      }
    }
  }
  if (synchronises && std::count(issues.begin(), issues.end(), true) > 1) return false;
  for (const std::vector<StepId>& group : program_.groups) {
    if (group.back() - group.front() + 1 != static_cast<StepId>(group.size())) return false;
    for (const StepId s : group) {
      if (program_.ops[s].blocking) return false;
    }
  }
  return true;
}

}  // namespace

int Program::Ranks(StepId step) const {
  return group_of[step] < 0 ? 1 : static_cast<int>(groups[group_of[step]].size());
}

double Program::DurationOf(StepId step, std::int64_t iteration) const {
  return Duration(*schedule, schedule->steps[step], iteration, resources, Ranks(step)).value();
}

double Program::SecondsOn(StepId step, std::int64_t iteration, std::int16_t resource, int sharing) const {
  const Resource& on = *resources[resource];
  const ResourceCost cost = CostOn(*schedule, schedule->steps[step], iteration, on, Ranks(step));
  return (cost.own + cost.divided * (on.shared ? sharing : 1)).value();
}

Result<Program> Compile(const Schedule& schedule, const Machine& machine) {
  return Compiler(schedule, machine).Compile();
}

}  // namespace stowage::sim
