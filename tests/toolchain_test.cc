// What the rest takes for granted of every configuration in .bazelrc: exceptions cross libraries, threads work,
// property tests run, and a sanitizer that is switched on really stops the process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace stowage {
namespace {

TEST(Toolchain, ThrowsAndCatchesThroughTheStandardLibrary) {
  EXPECT_THROW(std::string("abc").at(7), std::out_of_range);
  EXPECT_THROW(std::stoi("not a number"), std::invalid_argument);
}

TEST(Toolchain, RunsThreadsAndSeesTheirResults) {
  std::vector<int> results(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&results, i] { results[i] = static_cast<int>(i) + 1; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(results, testing::ElementsAre(1, 2, 3, 4));
}

TEST(Toolchain, FindsACounterexampleByProperty) {
  const auto holds = rc::check("sorting keeps the length", [](std::vector<int> values) {
    const std::size_t length = values.size();
    std::sort(values.begin(), values.end());
    RC_ASSERT(values.size() == length);
  });
  EXPECT_TRUE(holds);
}

#ifdef STOWAGE_ASAN
TEST(Toolchain, AddressSanitizerStopsAReadBehindTheEnd) {
  const auto read_behind = [] {
    std::vector<int> values(3, 1);
    const volatile int* end = values.data() + values.size();
    return *end;
  };
  EXPECT_DEATH(read_behind(), "heap-buffer-overflow");
}
#endif

#ifdef STOWAGE_UBSAN
TEST(Toolchain, UndefinedBehaviourSanitizerStopsAnOverflow) {
  volatile int largest = std::numeric_limits<int>::max();
  EXPECT_DEATH(largest = largest + 1, "signed integer overflow");
}
#endif

#ifdef STOWAGE_TSAN
TEST(Toolchain, ThreadSanitizerStopsAtARace) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto race = [] {
    int shared = 0;
    std::thread other([&shared] { ++shared; });
    ++shared;
    other.join();
    return shared;
  };
  EXPECT_DEATH(race(), "data race");
}
#endif

}  // namespace
}  // namespace stowage
