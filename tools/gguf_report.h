// The header of a GGUF file as `inspect header` shows it. Written out line by line: files with a million tensors are
// shown too.
#pragma once

#include <string>

#include "planner/formats/gguf.h"

namespace stowage {

// Metadata, long arrays shortened, then the tensors in the order of the data.
std::string GgufHeaderText(const GgufHeader& header);
// {"version","alignment","data_begin","metadata":{key: value},"tensors":[{"name","dtype","shape","bytes","offset"}]}.
// Arrays of strings or arrays, and what is longer than kMaxKeptValue, are {"type","count"}.
std::string GgufHeaderJson(const GgufHeader& header);

}  // namespace stowage
