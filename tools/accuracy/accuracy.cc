// accuracy: writes docs/accuracy.md, published figures beside predictions.
#include <optional>
#include <string>

#include "tools/accuracy/markdown.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/write_file.h"

namespace stowage {
namespace {

Result<int> AccuracyTool(int argc, char** argv) {
  CommandLine line("accuracy", "predicts what others have measured and prints the comparison as Markdown");
  std::optional<std::string> out;
  line.Option("--out", &out, "the file to write; without it, to standard output");
  line.Example("accuracy --out docs/accuracy.md", "after a change of the facts or of the model");
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;
  STOWAGE_TRY(const std::string page, AccuracyPage());
  if (!out) {
    STOWAGE_RETURN_IF_ERROR(Print(page));
    return 0;
  }
  STOWAGE_RETURN_IF_ERROR(WriteFile(*out, page));
  return 0;
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("accuracy", [&] { return stowage::AccuracyTool(argc, argv); });
}
