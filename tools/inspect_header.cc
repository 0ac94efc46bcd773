#include <optional>
#include <string>

#include "planner/formats/checkpoint_index.h"
#include "planner/formats/gguf.h"
#include "planner/formats/safetensors.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/options.h"
#include "tools/gguf_report.h"
#include "tools/inspect_commands.h"
#include "tools/model_report.h"

namespace stowage {

Result<int> InspectHeader(int argc, char** argv) {
  std::string path;
  bool json = false;
  CommandLine line("inspect header",
                   "the tensors of one safetensors or GGUF file, from its header alone, or of an index");
  line.Positional("FILE", &path, "a .safetensors or .gguf file, or an index of shards");
  line.Require("FILE");
  AddJsonOption(line, &json);
  line.Example("inspect header model-00001-of-00004.safetensors", "offsets, bytes, dtypes, names, shapes");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  if (path.ends_with(".gguf")) {
    STOWAGE_TRY(const GgufHeader header, ReadGgufHeader(path));
    STOWAGE_RETURN_IF_ERROR(Print(json ? GgufHeaderJson(header) : GgufHeaderText(header)));
    return 0;
  }
  if (path.ends_with(".json")) {
    STOWAGE_TRY(const CheckpointIndex index, ReadCheckpointIndex(path));
    STOWAGE_RETURN_IF_ERROR(Print(json ? IndexJson(index) : IndexText(index)));
    return 0;
  }
  STOWAGE_TRY(const SafetensorsHeader header, ReadSafetensorsHeader(path));
  STOWAGE_RETURN_IF_ERROR(Print(json ? HeaderJson(header) : HeaderText(header)));
  return 0;
}

}  // namespace stowage
