// inspect trace MODEL: what a pass allocates under eager torch.
#include <optional>
#include <string>

#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/options.h"
#include "tools/inspect_commands.h"
#include "tools/trace_report.h"

namespace stowage {

Result<int> InspectTrace(int argc, char** argv) {
  TraceOptions options;
  CommandLine line("inspect trace", "prints what a pass allocates under eager torch, as the trace recorder does");
  line.Positional("MODEL", &options.model, "a folder, a file or a name");
  line.Require("MODEL");
  line.Option("--pass", &options.pass, "prefill:TOKENS or decode:PAST, one step over a cache (default prefill:512)");
  line.Option("--prompt", &options.prompt, 1, kMostTokens,
              "of T5's decode:PAST, the positions that its encoder saw (default PAST, those of its decoder)");
  line.Option("--batch", &options.batch, 1, kMostBatch, "sequences (default 1)");
  line.Option("--dtype", &options.dtype, "of weights and activations (default bfloat16, as the recorder's)");
  line.Option("--kv", &options.kv, "dynamic, or static:POSITIONS, a StaticCache of that length (default dynamic)");
  line.Option("--offload", &options.offload, "none or sequential: accelerate's cpu_offload (default none)");
  line.Option("--runtime", &options.runtime, "torch");
  line.Flag(
      "--loaded", &options.loaded,
      "as from_pretrained holds the weights: some stay in fp32 (T5's wo); without it as from_config, the recorder's");
  line.Flag("--modules", &options.modules, "mark where modules are entered and left");
  AddJsonOption(line, &options.json);
  line.Example("inspect trace llama-8b --pass decode:512 --offload sequential --json", "one step over 512 tokens");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const std::string text, ReportTrace(options));
  STOWAGE_RETURN_IF_ERROR(Print(text));
  return 0;
}

}  // namespace stowage
