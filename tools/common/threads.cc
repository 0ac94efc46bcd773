#include "tools/common/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace stowage {

void OnThreads(std::size_t threads, std::size_t count, const std::function<void(std::size_t)>& job) {
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) job(i);
  };
  std::vector<std::jthread> others;  // joined at the end of the scope
  for (std::size_t t = 1; t < std::min(threads, count); ++t) others.emplace_back(work);
  work();
}

void OnAllCores(std::size_t count, const std::function<void(std::size_t)>& job) {
  cpu_set_t cores;
  const bool known = sched_getaffinity(0, sizeof(cores), &cores) == 0;
  OnThreads(known ? static_cast<std::size_t>(CPU_COUNT(&cores)) : 1, count, job);
}

}  // namespace stowage
