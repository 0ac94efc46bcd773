// Independent jobs on this computer's cores, for what is pure and long: planner and simulator own no threads.
#pragma once

#include <cstddef>
#include <functional>

namespace stowage {

// Runs job(0) … job(count - 1), each once, on at most `threads` threads, the caller's among them: whoever is free takes
// the next one, so long jobs go first. Returns when all have ended. A job must not throw.
void OnThreads(std::size_t threads, std::size_t count, const std::function<void(std::size_t)>& job);

// OnThreads with as many threads as this process may run on at once.
void OnAllCores(std::size_t count, const std::function<void(std::size_t)>& job);

}  // namespace stowage
