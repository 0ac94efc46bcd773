#include "planner/schedule/schedule.h"

namespace stowage {

std::string_view Name(BufferKind kind) {
  static constexpr std::array<std::string_view, 7> kNames = {"weights", "kv",      "activations", "workspace",
                                                             "staging", "context", "tokens"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view Name(Allocator allocator) {
  static constexpr std::array<std::string_view, 3> kNames = {"arena", "torch_caching", "pageable"};
  return kNames[static_cast<std::size_t>(allocator)];
}

std::string_view Name(IssuerKind kind) { return kind == IssuerKind::kNative ? "native" : "torch"; }

std::string_view Name(StepKind kind) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "allocate", "free", "empty_cache", "record_stream", "read", "copy", "compute", "reduce", "wait"};
  return kNames[static_cast<std::size_t>(kind)];
}

BufferId Schedule::RootOf(BufferId buffer) const {
  while (buffers[buffer].parent >= 0) buffer = buffers[buffer].parent;
  return buffer;
}

Bytes Schedule::OffsetInRoot(BufferId buffer) const {
  Bytes offset;
  for (; buffers[buffer].parent >= 0; buffer = buffers[buffer].parent) offset += buffers[buffer].offset;
  return offset;
}

std::vector<bool> Schedule::EndsPhase() const {
  std::vector<bool> out(steps.size(), true);
  const auto transfer = [](const Step& s) { return s.kind == StepKind::kRead || s.kind == StepKind::kCopy; };
  for (const Phase& phase : phases) {
    if (phase.required.empty()) continue;
    for (const Section* section : {&phase.prologue, &phase.body, &phase.epilogue}) {
      for (StepId s = section->begin; s < section->end; ++s) out[s] = !transfer(steps[s]) || steps[s].blocking;
    }
  }
  return out;
}

std::string Schedule::StepName(StepId id) const {
  const Step& step = steps[id];
  if (!step.name.empty()) return step.name;
  std::string out(Name(step.kind));
  if (step.kernel >= 0) return out + " " + kernels[step.kernel].name;
  if (step.buffer >= 0) return out + " " + buffers[step.buffer].name;
  if (!step.writes.empty()) return out + " " + buffers[step.writes[0].buffer].name;
  if (step.pool >= 0) return out + " " + pools[step.pool].name;
  // A wait for a wait is not followed: one may wait for itself, an iteration back.
  if (step.target.step >= 0 && steps[step.target.step].kind != StepKind::kWait) {
    return out + " " + StepName(step.target.step);
  }
  return out;
}

}  // namespace stowage
