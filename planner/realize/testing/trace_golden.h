// Recorded traces of tests/goldens/torch_traces, for the tests that compare with them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "planner/realize/torch.h"

namespace stowage {

struct TraceGolden {
  std::map<std::string, std::string> facts;      // what was run and what was counted: "batch", "peak_live_bytes", …
  std::vector<std::vector<std::string>> passes;  // events as "name bytes"; one pass unless the file numbers them

  std::int64_t Number(const std::string& fact) const { return std::stoll(facts.at(fact)); }
  const std::vector<std::string>& events() const { return passes.at(0); }
};

// The form that the make_*_traces.py of tests/peer write: comments, facts, then "events N" or, for each pass,
// "pass NUMBER LINES", and events; "* TIMES LINES" repeats the lines after it.
TraceGolden ReadTraceGolden(const std::string& folder, const std::string& name);

// Names of a folder's files, sorted, without ".txt"; and as gtest takes them.
std::vector<std::string> TraceGoldenNames(const std::string& folder);
std::string TraceTestName(const testing::TestParamInfo<std::string>& info);

std::vector<std::string> EventLines(const TorchTrace& trace);

// Expects equal events; the first that differs is named with the one before it.
void ExpectSameEvents(const std::vector<std::string>& ours, const std::vector<std::string>& recorded);

// Expects the recorded peaks and what is kept.
void ExpectSameBytes(const TorchTrace& trace, const TraceGolden& golden);

}  // namespace stowage
