// What a native schedule starts with that is in no file, under the buffer names that planner/strategy/native gives.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/run/execute.h"
#include "planner/model/model.h"

namespace stowage {

// "prompt": the ids [tokens, batch], position-major; "<tensor>@host": each rope table, fp32. kInvalidInput for a buffer
// that is not a rope table.
Result<Contents> NativeInputs(const Model& model, const std::vector<std::int32_t>& prompt);

}  // namespace stowage
