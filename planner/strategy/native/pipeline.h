// Stages on the GPUs of a machine, and micro-batches that follow each other through them (chain.h). Which blocks a stage
// holds is the placement whose slowest GPU is fastest (planner/solve/placement). Runtime: native.
//
//   pipeline      as many micro-batches as there are GPUs, or fewer if the batch is smaller or not divided by so many
//   pipeline:4    4 of them
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy PipelineStrategy();  // "pipeline"

}  // namespace stowage
