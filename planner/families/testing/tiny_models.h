// A small model of every family, for tests that must hold for all of them.
#pragma once

#include <span>
#include <string>

#include "planner/model/model.h"

namespace stowage {

struct TinyConfig {
  const char* name;    // the model_type, with what is special: "falcon 40b"
  const char* config;  // config.json
};

// In the order of families.cc; some families have several. One layer where that shows everything, two where layers
// differ.
std::span<const TinyConfig> TinyConfigs();

Model TinyModel(const TinyConfig& tiny);  // aborts when the family refuses it

// The same with wider layers and a larger vocabulary: some 100 KB of matrices, so that a ring has something to stream.
Model WiderModel(const TinyConfig& tiny);

}  // namespace stowage
