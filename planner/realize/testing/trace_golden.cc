#include "planner/realize/testing/trace_golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace stowage {

TraceGolden ReadTraceGolden(const std::string& folder, const std::string& name) {
  TraceGolden golden;
  std::ifstream file(std::filesystem::path(folder) / (name + ".txt"));
  EXPECT_TRUE(file) << folder << "/" << name;
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("#")) continue;
    const bool events = line.starts_with("events ");
    if (golden.passes.empty() && !line.starts_with("pass ")) {
      const std::size_t space = line.find(' ');
      golden.facts[line.substr(0, space)] = line.substr(space + 1);
    }
    if (events || line.starts_with("pass ")) {
      golden.passes.emplace_back();
    } else if (!golden.passes.empty()) {
      std::int64_t times = 1, lines = 1;
      std::vector<std::string> block = {line};
      if (line.starts_with("* ")) {
        std::istringstream(line.substr(2)) >> times >> lines;
        block.clear();
        for (std::int64_t i = 0; i < lines && std::getline(file, line); ++i) block.push_back(line);
      }
      std::vector<std::string>& pass = golden.passes.back();
      for (std::int64_t i = 0; i < times; ++i) pass.insert(pass.end(), block.begin(), block.end());
    }
  }
  if (golden.facts.count("events") != 0) {
    EXPECT_EQ(golden.events().size(), static_cast<std::size_t>(golden.Number("events")));
  }
  return golden;
}

std::vector<std::string> TraceGoldenNames(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string TraceTestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

std::vector<std::string> EventLines(const TorchTrace& trace) {
  std::vector<std::string> lines;
  for (const auto& [name, bytes] : trace.events) lines.push_back(fmt::format("{} {}", name, bytes));
  return lines;
}

void ExpectSameEvents(const std::vector<std::string>& ours, const std::vector<std::string>& recorded) {
  for (std::size_t i = 0; i < std::min(ours.size(), recorded.size()); ++i) {
    ASSERT_EQ(ours[i], recorded[i]) << "event " << i << " of " << recorded.size() << ", after "
                                    << (i > 0 ? recorded[i - 1] : "the start");
  }
  EXPECT_EQ(ours.size(), recorded.size());
}

void ExpectSameBytes(const TorchTrace& trace, const TraceGolden& golden) {
  EXPECT_EQ(trace.peak_live.value(), golden.Number("peak_live_bytes"));
  EXPECT_EQ(trace.peak_rounded.value(), golden.Number("peak_rounded_bytes"));
  EXPECT_EQ(trace.kept.value(), golden.Number("kept_bytes"));
}

}  // namespace stowage
