#include "tools/common/command_line.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "planner/quant/scheme.h"
#include "tools/common/options.h"

namespace stowage {
namespace {

// A tool with every shared option.
struct Tool {
  CommandLine line{"plan", "says what fits where, and how fast it runs"};
  std::string model;
  MachineSpec machine;
  Request request;
  std::string strategy = "auto";
  bool json = false;

  Tool() {
    AddModelOption(line, &model);
    AddMachineOptions(line, &machine);
    AddRequestOptions(line, &request);
    AddStrategyOption(line, &strategy);
    AddJsonOption(line, &json);
    line.Example("plan --gpu 15GB --model llama-8b", "a card of 15 GB");
    line.Example("plan --gpu t4 --model DIR --json", "a checkpoint on disk");
  }

  CommandLine::Outcome Parse(std::initializer_list<const char*> arguments) {
    std::vector<const char*> argv = {"plan"};
    argv.insert(argv.end(), arguments);
    return line.ParseQuietly(static_cast<int>(argv.size()), argv.data());
  }
};

// The sentence after "plan: " of a command line that is refused with exit code 2.
std::string Refusal(std::initializer_list<const char*> arguments) {
  Tool tool;
  const CommandLine::Outcome outcome = tool.Parse(arguments);
  if (outcome.exit_code != 2 || !outcome.out.empty()) return "not refused";
  EXPECT_EQ(outcome.error.substr(0, 6), "plan: ");
  EXPECT_EQ(outcome.error.find('\n'), outcome.error.size() - 1) << outcome.error;
  return outcome.error.substr(6, outcome.error.size() - 7);
}

TEST(CommandLine, FillsWhatWasGivenAndKeepsTheRest) {
  Tool tool;
  const CommandLine::Outcome outcome = tool.Parse({"--gpu", "24GiB,10GiB", "--model=llama-8b", "--gpu", "2xt4", "--cpu",
                                                   "30GB", "--dtype", "float16", "--batch=4", "--new", "0", "--json"});
  EXPECT_FALSE(outcome.exit_code.has_value()) << outcome.error;
  EXPECT_EQ(outcome.out + outcome.error, "");
  EXPECT_EQ(tool.model, "llama-8b");
  EXPECT_EQ(tool.machine.gpus, (std::vector<std::string>{"24GiB,10GiB", "2xt4"}));
  EXPECT_EQ(tool.machine.cpu, "30GB");
  EXPECT_FALSE(tool.machine.disk.has_value());
  EXPECT_EQ(tool.request.dtype, DType::kF16);
  EXPECT_EQ(tool.request.batch, 4);
  EXPECT_EQ(tool.request.prompt_tokens, 512);
  EXPECT_EQ(tool.request.new_tokens, 0);
  EXPECT_EQ(tool.strategy, "auto");
  EXPECT_TRUE(tool.json);
}

TEST(CommandLine, RefusesUnknownOptionsAndNamesTheNearest) {
  EXPECT_EQ(Refusal({"--gpus", "15GB", "--model", "x"}), "unknown option '--gpus'; did you mean '--gpu'?");
  EXPECT_EQ(Refusal({"--gpu", "15GB", "--modle=x"}), "unknown option '--modle'; did you mean '--model'?");
  EXPECT_EQ(Refusal({"--gpu", "15GB", "--frobnicate", "--model", "x"}),
            "unknown option '--frobnicate'; see plan --help");
  EXPECT_EQ(Refusal({"--gpu", "15GB", "-x", "--model", "x"}), "unknown option '-x'; see plan --help");
  EXPECT_EQ(Refusal({"--gpu", "15GB", "--model", "x", "y"}), "unexpected argument 'y'; see plan --help");
}

TEST(CommandLine, RefusesMissingAndRepeatedValues) {
  EXPECT_EQ(Refusal({"--gpu", "15GB"}), "--model is missing; see plan --help");
  EXPECT_EQ(Refusal({"--model", "x"}), "--gpu is missing; see plan --help");
  EXPECT_EQ(Refusal({}), "--model is missing; see plan --help");
  EXPECT_EQ(Refusal({"--gpu", "15GB", "--model"}), "--model needs a value");
  EXPECT_EQ(Refusal({"--model", "--gpu", "15GB"}), "--model needs a value");
  EXPECT_EQ(Refusal({"--model=", "--gpu", "15GB"}), "--model needs a value");
  EXPECT_EQ(Refusal({"--model", "", "--gpu", "15GB"}), "--model needs a value");
  EXPECT_EQ(Refusal({"--model", "x", "--model", "y", "--gpu", "15GB"}), "--model is given 2 times");
}

TEST(CommandLine, RefusesAbsurdNumbersAndNamesThem) {
  const auto refusal = [](const char* flag, const char* value) {
    return Refusal({"--gpu", "15GB", "--model", "x", flag, value});
  };
  EXPECT_EQ(refusal("--batch", "0"), "--batch: must be a whole number from 1 to 65536, not '0'");
  EXPECT_EQ(refusal("--batch", "1e3"), "--batch: must be a whole number from 1 to 65536, not '1e3'");
  EXPECT_EQ(refusal("--prompt", "0"), "--prompt: must be a whole number from 1 to 16777216, not '0'");
  EXPECT_EQ(refusal("--prompt", "99999999999999999999"),
            "--prompt: must be a whole number from 1 to 16777216, not '99999999999999999999'");
  EXPECT_EQ(refusal("--new", "-1"), "--new: must be a whole number from 0 to 16777216, not '-1'");
  EXPECT_EQ(refusal("--new", "12 "), "--new: must be a whole number from 0 to 16777216, not '12 '");
  EXPECT_EQ(refusal("--dtype", "bf17"), "--dtype: 'bf17' is not known; known are " + KnownFormats());
}

TEST(CommandLine, RefusesAValueForAFlag) {
  EXPECT_EQ(Refusal({"--gpu", "15GB", "--model", "x", "--json=maybe"}), "--json takes no value");
}

TEST(CommandLine, HelpShowsOptionsAndExamples) {
  Tool tool;
  const CommandLine::Outcome outcome = tool.Parse({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(
      outcome.out,
      "plan: says what fits where, and how fast it runs\n"
      "\n"
      "usage: plan --model TEXT --gpu TEXT [options]\n"
      "\n"
      "  --model TEXT      a known name (llama-8b), folder, file, or org/name in the Hugging Face cache (required)\n"
      "  --gpu TEXT        15GB, t4, rtx4090:22GiB, 2x24GiB, several with commas, or auto: this computer's; may be "
      "repeated (required)\n"
      "  --cpu TEXT        host memory to use, such as 30GB; without it what is available here\n"
      "  --disk TEXT       disk space to use, such as 500GB; without it what is free at --disk-path\n"
      "  --disk-path TEXT  the folder whose disk is meant (the current one)\n"
      "  --dtype TEXT      bf16, fp16, fp32, int8, nf4, fp8, gptq, q4_k_m and more; auto, or without it, as the "
      "checkpoint holds it\n"
      "  --batch N         sequences at once (1)\n"
      "  --prompt N        tokens of each prompt (512)\n"
      "  --new N           tokens to generate for each sequence (128)\n"
      "  --strategy TEXT   resident, ring or sequential-offload\n"
      "  --json            print JSON\n"
      "  --help            this text\n"
      "  --version         the version\n"
      "\n"
      "examples:\n"
      "  plan --gpu 15GB --model llama-8b  # a card of 15 GB\n"
      "  plan --gpu t4 --model DIR --json  # a checkpoint on disk\n");
}

TEST(CommandLine, VersionNeedsNothingElse) {
  Tool tool;
  const CommandLine::Outcome outcome = tool.Parse({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "plan (stowage) 0.1.0\n");
}

TEST(CommandLine, TakesPositionalArgumentsInOrder) {
  std::string what;
  std::string model;
  CommandLine line("inspect", "shows what a file holds");
  line.Positional("WHAT", &what, "dump or trace");
  line.Positional("MODEL", &model, "a model");
  line.Require("WHAT");
  const char* argv[] = {"inspect", "trace", "llama-8b"};
  EXPECT_FALSE(line.ParseQuietly(3, argv).exit_code.has_value());
  EXPECT_EQ(what + " " + model, "trace llama-8b");
}

TEST(CommandLine, RefusesOnePositionalTooFewOrTooMany) {
  const auto refusal = [](std::vector<const char*> argv) {
    std::string model;
    CommandLine line("inspect", "shows what a file holds");
    line.Positional("MODEL", &model, "a model");
    line.Require("MODEL");
    return line.ParseQuietly(static_cast<int>(argv.size()), argv.data()).error;
  };
  EXPECT_EQ(refusal({"inspect"}), "inspect: MODEL is missing; see inspect --help\n");
  EXPECT_EQ(refusal({"inspect", "a", "b"}), "inspect: unexpected argument 'b'; see inspect --help\n");
}

TEST(ParseTokens, ReadsACommaSeparatedList) {
  EXPECT_EQ(*ParseTokens("1,2,3"), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(*ParseTokens("0"), (std::vector<std::int64_t>{0}));
}

TEST(ParseTokens, NamesTheEntryItCannotRead) {
  const auto refusal = [](const char* text) { return ParseTokens(text).error().message; };
  EXPECT_EQ(refusal(""), "token 1: must be a whole number from 0 to 2147483647, not ''");
  EXPECT_EQ(refusal("1,,3"), "token 2: must be a whole number from 0 to 2147483647, not ''");
  EXPECT_EQ(refusal("1,2,-3"), "token 3: must be a whole number from 0 to 2147483647, not '-3'");
  EXPECT_EQ(refusal("4294967296"), "token 1: must be a whole number from 0 to 2147483647, not '4294967296'");
}

}  // namespace
}  // namespace stowage
