// What a plan remembers of the model it was made for, so that the same plan is not used for another one.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/model/model.h"

namespace stowage {

struct ModelFingerprint {
  std::string source;  // what LoadModel was given: a zoo name, or a path
  std::int64_t parameters = 0;
  Bytes weights;             // in memory, in the dtype planned with; a tied one once
  std::int64_t tensors = 0;  // buffers included
  // Everything else of the model that passes are made of, by the names of config.json, and what classes there are.
  std::vector<std::pair<std::string, std::string>> config;
  // FNV-1a over every tensor's name, dtype, shape, bytes, tie and block, in order; 16 hexadecimal digits.
  std::string tensors_hash;

  friend bool operator==(const ModelFingerprint&, const ModelFingerprint&) = default;
};

ModelFingerprint FingerprintOf(const Model& model, std::string source);

// What is no longer as it was: "rope_theta is 10000, was 500000". Empty: the same model, wherever it lies.
std::vector<std::string> Changes(const ModelFingerprint& then, const ModelFingerprint& now);

}  // namespace stowage
