// A Timeline as `simulate --json` and both halves of `execute --json` print it:
//
//   {"peak_bytes": {pool: n},
//    "peak": {pool: {"step", "phase", "buffers": [{"name", "kind", "bytes"}]}},
//    "phases": [{"name", "iterations", "seconds"}],
//    "resources": {name: {"busy_s", "idle_s", "idle_causes": {cause: s}}},
//    "torch": {"allocated_peak_bytes", "reserved_peak_bytes", "pinned_bytes"},           only when the run was torch's
//    "out_of_memory": {"pool", "step", "phase", "requested_bytes", "available_bytes"}}   only when the run ends there
//
// Members keep the timeline's order; bytes are exact integers; two spaces of indent, one newline at the end; the same
// timeline gives the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sim/timeline/timeline.h"

namespace stowage {

std::string TimelineJson(const Timeline& timeline);

// {"tokens": [...], "predicted": {...}, "measured": {...}}. `tokens` of sequence 0 first when there are several.
std::string ExecuteJson(std::span<const std::int64_t> tokens, const Timeline& predicted, const Timeline& measured);

}  // namespace stowage
