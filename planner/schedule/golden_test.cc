#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/schedule/parse.h"

namespace stowage {
namespace {

std::vector<std::filesystem::path> Goldens() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator("tests/goldens/schedules")) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string TextOf(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string WithoutComments(const std::string& text) {
  std::istringstream lines(text);
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("#")) out += line + "\n";
  }
  return out;
}

class Golden : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Golden, IsReadCheckedAndWrittenBackUnchanged) {
  const std::string text = TextOf(GetParam());
  const auto schedule = ParseSchedule(text);
  ASSERT_TRUE(schedule) << schedule.error().message;
  for (const ScheduleProblem& problem : FindProblems(*schedule)) ADD_FAILURE() << problem.text;
  EXPECT_EQ(Dump(*schedule), WithoutComments(text));
}

std::vector<std::filesystem::path> LoopsWhoseSlicesStay() {
  const std::string folder = "tests/goldens/schedules/";
  return {folder + "leaf_hooks.txt", folder + "ring.txt"};
}

class Loop : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Loop, IsValidForManyIterationsCheckedEitherWay) {
  auto schedule = ParseSchedule(TextOf(GetParam()));
  ASSERT_TRUE(schedule) << schedule.error().message;
  for (Phase& phase : schedule->phases) {
    if (phase.iterations > 0) phase.iterations = 500;
  }
  for (const std::int64_t most : {1'000'000, 10}) {
    CheckOptions options;
    options.max_executions = most;
    for (const ScheduleProblem& problem : FindProblems(*schedule, options)) ADD_FAILURE() << problem.text;
  }
}

std::string NameOf(const testing::TestParamInfo<std::filesystem::path>& info) { return info.param.stem().string(); }

INSTANTIATE_TEST_SUITE_P(Schedules, Golden, testing::ValuesIn(Goldens()), NameOf);
INSTANTIATE_TEST_SUITE_P(Schedules, Loop, testing::ValuesIn(LoopsWhoseSlicesStay()), NameOf);

TEST(Goldens, CoverTwelveConstructs) { EXPECT_EQ(Goldens().size(), 12u); }

}  // namespace
}  // namespace stowage
