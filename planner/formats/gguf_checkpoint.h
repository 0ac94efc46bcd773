// A GGUF checkpoint, one file or the parts NAME-00001-of-0000N.gguf that gguf-split makes, as one list of tensors.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/gguf.h"

namespace stowage {

struct GgufCheckpoint {
  Checkpoint files;       // tensors file by file, each by offset
  GgufMetadata metadata;  // of the first part; the others have only split.* of their own
  std::string stem;       // "llama-q8_0": the name of the file without its part number and ending
};

// `path`: a .gguf file; of a split model any part, whose siblings must lie beside it. Refuses missing parts, parts that
// number themselves otherwise than their names do, and tensors that two parts hold.
Result<GgufCheckpoint> ReadGgufCheckpoint(const std::string& path);

}  // namespace stowage
