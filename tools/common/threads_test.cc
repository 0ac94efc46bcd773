#include "tools/common/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace stowage {
namespace {

TEST(OnThreads, RunsEachJobOnceOnAnyNumberOfThreads) {
  for (const std::size_t threads : {0, 1, 2, 7}) {
    std::vector<std::atomic<int>> runs(100);
    OnThreads(threads, runs.size(), [&](std::size_t i) { ++runs[i]; });
    for (const std::atomic<int>& r : runs) EXPECT_EQ(r, 1);
  }
}

TEST(OnThreads, RunsNothingWhenThereIsNothing) {
  OnThreads(4, 0, [](std::size_t) { FAIL(); });
  OnAllCores(0, [](std::size_t) { FAIL(); });
}

TEST(OnThreads, RunsTwoJobsAtTheSameTime) {
  std::atomic<int> there = 0;
  OnThreads(2, 2, [&](std::size_t) {
    ++there;
    while (there < 2) std::this_thread::yield();  // each waits for the other: hangs if they come one after the other
  });
  EXPECT_EQ(there, 2);
}

}  // namespace
}  // namespace stowage
