// Small llamas, machines and requests of every shape that the planner must get right, for property tests.
#pragma once

#include <cstdint>
#include <random>

#include "planner/strategy/strategy.h"

namespace stowage {

struct TestTask {
  Model model;
  Machine machine;
  Request request;

  // Points into this.
  PlanningTask task() const { return {.model = &model, .machine = &machine, .request = request}; }
  Bytes& Budget(const char* pool) { return machine.pools[machine.FindPool(pool)].budget; }
};

struct TinyLlamaOptions {
  std::int64_t layers = 1, heads = 2, kv_heads = 1, head_dim = 4, intermediate = 24, vocab = 40;
  bool tied = false, bias = false, head = true;
  DType file_dtype = DType::kBF16;  // of the imagined checkpoint
  DType dtype = DType::kBF16;       // computed with
  bool checkpoint = true;           // tensors have a place in a file
};
Model TinyLlamaModel(const TinyLlamaOptions& options);

// A generic card with room for everything; budgets are the caller's to change.
Machine TinyMachine();

// All of it drawn from the seed; budgets are roomy.
TestTask RandomTask(std::uint64_t seed);

}  // namespace stowage
