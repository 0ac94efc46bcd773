// The goldens with words, numbers and lines changed: changes that keep the grammar more often than libFuzzer's bytes do.
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/schedule/parse.h"

namespace stowage {
namespace {

std::vector<std::string> Goldens() {
  std::vector<std::string> texts;
  for (const auto& entry : std::filesystem::directory_iterator("tests/goldens/schedules")) {
    if (entry.path().extension() != ".txt") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    texts.push_back(text.str());
  }
  return texts;
}

// One to four changes.
std::string Mutated(std::string text, std::mt19937& random) {
  static const char* const kNumbers[] = {
      "0", "1", "-1", "4294967296", "9223372036854775807", "-9223372036854775808", "72057594037927936", "0+1i", "1-1i"};
  const auto below = [&](std::size_t n) { return random() % n; };
  for (auto changes = 1 + below(4); changes-- > 0;) {
    const std::size_t at = below(text.size());
    const std::size_t digit = text.find_first_of("0123456789", at);
    const std::size_t space = text.find(' ', at), line = text.find('\n', at);
    if (below(3) == 0 && digit != std::string::npos) {
      const std::size_t end = text.find_first_not_of("0123456789", digit);
      text.replace(digit, end - digit, kNumbers[below(9)]);
    } else if (below(2) == 0 && space != std::string::npos) {
      const std::size_t end = text.find_first_of(" \n", space + 1);
      const std::string word = text.substr(space, end - space);
      const std::size_t to = text.find_first_of(" \n", below(text.size()));
      if (to != std::string::npos) text.insert(to, word);
    } else if (line != std::string::npos) {
      const std::size_t end = text.find('\n', line + 1);
      if (end != std::string::npos) text.erase(line, end - line);
    }
  }
  return text;
}

TEST(MutatedSchedules, AreRefusedNamingTheLineOrWrittenBackEqualAndChecked) {
  CheckOptions options;
  options.max_executions = 2000;
  std::mt19937 random(1);
  int refused = 0, read = 0, broken = 0;
  for (const std::string& golden : Goldens()) {
    ASSERT_TRUE(ParseSchedule(golden)) << golden;
    for (int round = 0; round < 1500; ++round) {
      const std::string text = Mutated(golden, random);
      const Result<Schedule> schedule = ParseSchedule(text);
      if (!schedule) {
        ++refused;
        ASSERT_TRUE(schedule.error().message.starts_with("line ")) << schedule.error().message << "\n" << text;
        continue;
      }
      ++read;
      const Result<Schedule> again = ParseSchedule(Dump(*schedule));
      ASSERT_TRUE(again && *again == *schedule) << text;
      broken += !FindProblems(*schedule, options).empty();
    }
  }
  // The mutations reach all three outcomes, each often.
  EXPECT_GT(refused, 1000);
  EXPECT_GT(read - broken, 1000);
  EXPECT_GT(broken, 1000);
}

TEST(MutatedSchedules, AWaitForItselfInTheIterationBeforeIsNoCycle) {
  const Result<Schedule> schedule =
      ParseSchedule("schedule 1 a\nissuer main native\nphase p iterations=9\nbody passes=1\n  @0: wait @0[-1]\n");
  ASSERT_TRUE(schedule) << schedule.error().message;
  for (const auto& problem : FindProblems(*schedule, {})) ADD_FAILURE() << problem.text;
}

}  // namespace
}  // namespace stowage
