// inspect: what is in a model or a file. The subcommands are in inspect_*.cc.
#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/inspect_commands.h"

namespace stowage {
namespace {

struct Subcommand {
  std::string_view name;
  Result<int> (*run)(int argc, char** argv);
  std::string_view example;
  std::string_view what;
};

constexpr Subcommand kSubcommands[] = {
    {"summary", InspectSummary, "inspect summary llama-8b", "parameters, bytes, largest parts, ties, cache"},
    {"tree", InspectTree, "inspect tree DIR", "modules with their tensors"},
    {"tensors", InspectTensors, "inspect tensors DIR --json", "names, dtypes, shapes, bytes of a checkpoint"},
    {"header", InspectHeader, "inspect header FILE", "the header of one safetensors or GGUF file"},
    {"kv", InspectKv, "inspect kv llama-8b --batch 8", "key-value caches of a request, by kinds of layers"},
    {"trace", InspectTrace, "inspect trace llama-8b --pass decode:512", "what eager torch allocates in a pass"},
    {"machine", InspectMachine, "inspect machine --gpu t4 --json", "pools, rates and origins; JSON for --machine"},
    {"dump", InspectDump, "inspect dump plan.json --phase decode", "the schedule of a plan file"},
    {"explain", InspectExplain, "inspect explain plan.json model.layers.7", "why a block is where it is"},
    {"diff", InspectDiff, "inspect diff a.json b.json", "what moved, grew or appeared between two plans"},
};

Result<int> Inspect(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  std::string known;
  for (const Subcommand& s : kSubcommands) {
    if (s.name == first) return s.run(argc - 1, argv + 1);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", s.name);
  }
  if (!first.empty() && !first.starts_with('-')) {
    return Error{ErrorCode::kInvalidInput, fmt::format("unknown command '{}'; known are {}", first, known)};
  }
  std::string command;
  CommandLine line("inspect", "shows what is in a model or a file; `inspect COMMAND --help` says more");
  line.Positional("COMMAND", &command, "one of " + known);
  line.Require("COMMAND");
  std::vector<std::string> words;
  for (const Subcommand& s : kSubcommands) words.emplace_back(s.name);
  line.Words("COMMAND", std::move(words));
  for (const Subcommand& s : kSubcommands) line.Example(s.example, s.what);
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  return Error{ErrorCode::kInvalidInput, fmt::format("no command; known are {}", known)};
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("inspect", [&] { return stowage::Inspect(argc, argv); });
}
