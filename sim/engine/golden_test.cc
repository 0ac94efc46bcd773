// The hand-written schedules of tests/goldens/schedules take exactly the times that their comments expect.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "planner/schedule/parse.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

struct Expected {
  double length = -1;
  std::vector<std::pair<std::string, double>> busy;
  std::vector<std::pair<std::string, double>> rates;
};

// "# expect: rate gpu0.h2d=256000B/s length=3ms busy gpu0.sm=2ms"
Expected ReadExpectation(const std::string& text) {
  Expected expected;
  const std::string tag = "# expect:";
  std::istringstream words(
      text.substr(text.find(tag) + tag.size(), text.find('\n', text.find(tag)) - text.find(tag) - tag.size()));
  std::vector<std::pair<std::string, double>>* list = nullptr;
  for (std::string word; words >> word;) {
    if (word == "busy") list = &expected.busy;
    if (word == "rate") list = &expected.rates;
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    const double value = std::stod(word.substr(equals + 1)) * (word.ends_with("ms") ? 1e-3 : 1);
    if (word.starts_with("length=")) {
      expected.length = value;
    } else if (list != nullptr) {
      list->emplace_back(word.substr(0, equals), value);
    }
  }
  return expected;
}

std::string TextOf(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

Machine MachineOf(const Schedule& schedule, const Expected& expected) {
  Machine machine;
  machine.name = "golden";
  for (const std::string& name : schedule.resources) {
    Resource& resource = machine.resources.emplace_back();
    resource.name = name;
    for (const auto& [rated, rate] : expected.rates) {
      if (rated == name) resource.transfer = TransferRate{.pinned = BytesPerSecond(rate)};
    }
  }
  return machine;
}

std::vector<std::filesystem::path> Goldens() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator("tests/goldens/schedules")) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

class Golden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override {
    const std::string text = TextOf(GetParam());
    auto parsed = ParseSchedule(text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    schedule = *std::move(parsed);
    // Toy budgets of a few bytes: torch's segments of 2 MiB do not fit them.
    for (PoolUse& pool : schedule.pools) {
      if (pool.allocator == Allocator::kTorchCaching) pool.budget = Bytes(0);
    }
    expected = ReadExpectation(text);
    ASSERT_GT(expected.length, 0);
    ASSERT_FALSE(expected.busy.empty());
  }
  Timeline Simulated(bool events) {
    auto t = Simulate(schedule, MachineOf(schedule, expected),
                      {.record_spans = true, .record_curves = true, .force_event_loop = events});
    EXPECT_TRUE(t) << t.error().message;
    return t ? *std::move(t) : Timeline{};
  }
  Schedule schedule;
  Expected expected;
};

TEST_P(Golden, TakesTheExpectedTimes) {
  for (const bool events : {false, true}) {
    const Timeline t = Simulated(events);
    EXPECT_FALSE(t.out_of_memory);
    EXPECT_NEAR(t.length.value(), expected.length, 1e-12);
    for (const auto& [name, busy] : expected.busy) {
      const auto line = std::find_if(t.resources.begin(), t.resources.end(),
                                     [&](const ResourceTimeline& r) { return r.resource == name; });
      ASSERT_NE(line, t.resources.end()) << name;
      EXPECT_NEAR(line->busy.value(), busy, 1e-12) << name;
    }
  }
}

TEST_P(Golden, IdleCausesAddUpAndPeaksAreAttributedToTheByte) {
  const Timeline t = Simulated(false);
  for (const ResourceTimeline& r : t.resources) {
    Seconds causes;
    for (const auto& [cause, seconds] : r.idle_causes) causes += seconds;
    EXPECT_NEAR(causes.value(), r.idle.value(), 1e-12) << r.resource;
    EXPECT_NEAR((r.busy + r.idle).value(), t.length.value(), 1e-12) << r.resource;
  }
  for (const PoolTimeline& pool : t.pools) {
    Bytes sum;
    for (const PeakBuffer& buffer : pool.peak.buffers) sum += buffer.bytes;
    EXPECT_EQ(sum, pool.peak.bytes) << pool.pool;
    Bytes highest;
    for (const PoolSample& sample : pool.curve) highest = std::max(highest, sample.bytes);
    EXPECT_EQ(highest, pool.peak.bytes) << pool.pool;
  }
}

TEST_P(Golden, BothAlgorithmsGiveTheSameMemory) {
  const Timeline one = Simulated(false);
  const Timeline two = Simulated(true);
  ASSERT_EQ(one.pools.size(), two.pools.size());
  for (std::size_t p = 0; p < one.pools.size(); ++p) {
    EXPECT_EQ(one.pools[p].peak.bytes, two.pools[p].peak.bytes);
    EXPECT_EQ(one.pools[p].peak.at, two.pools[p].peak.at);
    EXPECT_EQ(one.pools[p].peak.step, two.pools[p].peak.step);
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, Golden, testing::ValuesIn(Goldens()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace stowage
