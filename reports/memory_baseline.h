// The baseline of `check` as JSON, made to be committed: cases by name, one buffer a line, the same peaks give the same
// bytes, so that a diff shows which tensors changed.
//
//   {
//    "stowage_baseline": 1,
//    "cases": {
//     "llama-8b on 15 GB": {
//      "what": "llama-3.1-8b, ring, gpu 15GB, cpu 30GB, batch 1, prompt 512, new 128",
//      "pools": {
//       "gpu0": {
//        "peak_bytes": 14999956224, "phase": "load", "step": "allocate ring",
//        "buffers": [
//         {"kind": "activations", "name": "activations", "bytes": 37748736},
//         …
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "reports/memory_check.h"

namespace stowage {

inline constexpr int kBaselineVersion = 1;

std::string WriteBaseline(std::vector<CaseRecord> cases);

// `path` names the text in errors. kInvalidInput with line and column.
Result<std::vector<CaseRecord>> ReadBaseline(std::string_view path, std::string_view text);

}  // namespace stowage
