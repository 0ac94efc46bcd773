// Command lines of all tools: the same words mean the same thing, errors are one sentence, exit codes follow DESIGN §4.
//
//   CommandLine line("plan", "says what fits where, and how fast it runs");
//   std::string model;
//   AddModelOption(line, &model);
//   line.Flag("--explain", &explain, "say why");
//   line.Example("plan --gpu 15GB --model llama-8b", "a card of 15 GB");
//   if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
//
// The variables must outlive Parse; after one that fails some may have been written. CLI11 is included in one .cc,
// because it takes seconds to compile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"

namespace stowage {

class CommandLine {
 public:
  CommandLine(std::string_view tool, std::string_view about);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // Options take one value: "--batch 4" or "--batch=4". `help` is one line without a full stop.
  void Option(std::string_view flag, std::string* value, std::string_view help);
  void Option(std::string_view flag, std::optional<std::string>* value, std::string_view help);
  void Option(std::string_view flag, std::vector<std::string>* values, std::string_view help);  // may be repeated
  // All the values that follow it, up to the next option: "--compare ring resident".
  void List(std::string_view flag, std::vector<std::string>* values, std::string_view help);
  // A whole number between `least` and `most`.
  void Option(std::string_view flag, std::int64_t* value, std::int64_t least, std::int64_t most, std::string_view help);
  // Anything else: `read` gets the text, and says what is wrong with it (without naming the flag).
  void Option(std::string_view flag, std::function<Status(const std::string&)> read, std::string_view help);
  void Flag(std::string_view flag, bool* value, std::string_view help);
  // An argument without a flag; several in the order of the calls.
  void Positional(std::string_view name, std::string* value, std::string_view help);
  void Positional(std::string_view name, std::optional<std::string>* value, std::string_view help);

  // The option or argument must be given. `flag` as above; an unknown one is a bug.
  void Require(std::string_view flag);
  // The option takes "" as a value: an empty list.
  void MayBeEmpty(std::string_view flag);
  // Where `flag` is given, none of `others` may be, and none of `others` and `optional` need be.
  void Replaces(std::string_view flag, const std::vector<std::string_view>& others,
                const std::vector<std::string_view>& optional = {});
  // The argument is one of these words: completion offers them.
  void Words(std::string_view name, std::vector<std::string> words);
  // Shown by --help.
  void Example(std::string_view command, std::string_view what);

  // Nothing: go on. Otherwise the exit code to return: 0 after --help, --version or --completion, 2 after one sentence on stderr.
  std::optional<int> Parse(int argc, const char* const* argv);

  // The same without printing: what would be printed, where, and the code.
  struct Outcome {
    std::optional<int> exit_code;  // absent: go on
    std::string out;
    std::string error;
  };
  Outcome ParseQuietly(int argc, const char* const* argv);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stowage
