#include <optional>
#include <string>

#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"
#include "tools/inspect_commands.h"
#include "tools/kv_report.h"

namespace stowage {

Result<int> InspectKv(int argc, char** argv) {
  std::string what;
  Request request;
  bool json = false;
  CommandLine line("inspect kv", "the key-value caches of a request: bytes per token and in all, by kinds of layers");
  line.Positional("MODEL", &what, "zoo name, folder, config.json, safetensors file or index, GGUF file");
  line.Require("MODEL");
  AddRequestOptions(line, &request);
  AddJsonOption(line, &json);
  line.Example("inspect kv llama-8b --batch 8 --prompt 4096 --new 512", "in the model's own dtype");
  line.Example("inspect kv llama-8b --dtype q8_0", "as llama.cpp's -ctk q8_0 -ctv q8_0");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  // Of the caches here: q8_0 is llama.cpp's -ctk q8_0 -ctv q8_0; a scheme of weights alone leaves them as they are.
  if (const std::optional<DType> packed = ParseDType(request.quantization); packed && IsPacked(*packed)) {
    if (Block(*packed).elements == 32) request.dtype = packed;
  }
  STOWAGE_TRY(const Model model, LoadNamedModel(what));
  if (!request.prompt_given && model.forward.forced_tokens > 0) request.prompt_tokens = model.forward.forced_tokens;
  STOWAGE_TRY(const KvReport report, MakeKvReport(model, request));
  STOWAGE_RETURN_IF_ERROR(Print(json ? KvJson(report) : KvText(report)));
  return 0;
}

}  // namespace stowage
