// A schedule compiled for simulation: one flat Op per step with its costs and dependencies resolved, sections with
// their positions in the unrolled schedule. Built once; the body's ops are reused by every iteration.
//
// Executions are numbered by their position in the unrolled schedule ("seq"): phase by phase, prologue, body of
// iteration 0, 1, …, epilogue. Times are plain seconds here; Quantities return at the edge (engine.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"

namespace stowage::sim {

enum class OpClass : std::uint8_t { kJob, kReduce, kWait, kMemory };

// The end of which execution of `step` is meant, seen from an op of iteration i.
struct Dep {
  std::int32_t step = -1;
  enum Which : std::int8_t { kSame, kPrevious, kLast } which = kSame;  // iteration i, i - 1, the last one
  // True if that execution is the latest so far when executions happen in seq order; false: the one before.
  bool latest = true;
};

struct Op {
  double duration = 0;  // alone; of iteration 0 if `varies`
  double dispatch = 0;
  std::int32_t issuer = 0;
  std::int32_t queue = -1;  // jobs: always set; queue-less ones get a queue of their issuer
  std::int32_t first_dep = 0;
  std::int16_t deps = 0;
  std::array<std::int16_t, 3> resources = {-1, -1, -1};  // used ones first, no duplicates
  OpClass kind = OpClass::kJob;
  StepKind step_kind = StepKind::kCompute;
  bool blocking = false;
  bool varies = false;      // the duration depends on the iteration
  bool group_last = false;  // kReduce: the last of its group in list order
  bool shares = false;      // uses a shared resource
  bool ends_phase = true;   // Schedule::EndsPhase
};

struct Run {  // one section of one phase
  std::int32_t phase = 0;
  StepId begin = 0;
  StepId end = 0;
  bool body = false;
  std::int64_t iterations = 1;
  std::int64_t passes = 0;
  std::int64_t first_seq = 0;

  std::int64_t Seq(StepId step, std::int64_t iteration) const {
    return first_seq + iteration * (end - begin) + step - begin;
  }
};

struct Program {
  const Schedule* schedule = nullptr;  // must outlive the program
  std::vector<const Resource*> resources;
  std::vector<Op> ops;  // by StepId
  std::vector<Dep> deps;
  std::vector<Run> runs;                    // in order; empty ones left out
  std::vector<std::int32_t> run_of;         // by StepId; -1: never run
  std::vector<std::vector<StepId>> groups;  // Reduce, by dense group index
  std::vector<std::int32_t> group_of;       // by StepId; -1
  std::int32_t queues = 0;                  // the schedule's, then one per issuer
  std::int64_t executions = 0;
  std::int64_t longest_section = 0;
  bool forward = false;  // one pass in seq order gives the answer, see forward.cc

  // Seconds of the step alone in that iteration.
  double DurationOf(StepId step, std::int64_t iteration) const;
  // On one of its resources with that many jobs on it, if it is shared.
  double SecondsOn(StepId step, std::int64_t iteration, std::int16_t resource, int sharing) const;
  int Ranks(StepId step) const;  // steps in its Reduce group
};

// *schedule and *machine must outlive the program.
Result<Program> Compile(const Schedule& schedule, const Machine& machine);

}  // namespace stowage::sim
