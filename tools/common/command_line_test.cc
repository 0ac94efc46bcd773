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
    line.Option("--strategy", &strategy, "resident, ring or sequential-offload");
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

TEST(CommandLine, AListTakesAllValuesUpToTheNextOption) {
  CommandLine line("simulate", "predicts");
  std::vector<std::string> names;
  bool json = false;
  line.List("--compare", &names, "side by side");
  AddJsonOption(line, &json);
  const auto parse = [&](std::vector<const char*> argv) {
    names.clear();
    argv.insert(argv.begin(), "simulate");
    return line.ParseQuietly(static_cast<int>(argv.size()), argv.data());
  };
  EXPECT_FALSE(parse({"--compare", "ring", "resident:1", "--json"}).exit_code.has_value());
  EXPECT_EQ(names, (std::vector<std::string>{"ring", "resident:1"}));
  EXPECT_TRUE(json);
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
  EXPECT_EQ(refusal("--alloc-conf", "expandable_segments:true"),
            "--alloc-conf: expandable_segments: 'true' is not True or False");
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
      "usage: plan --model TEXT [options]\n"
      "\n"
      "  --model TEXT        a known name (llama-8b), folder, file, or org/name in the Hugging Face cache (required)\n"
      "  --gpu TEXT          15GB, t4, rtx4090:22GiB, 2x24GiB, several with commas, or auto: this computer's; may be "
      "repeated (required without --machine)\n"
      "  --cpu TEXT          host memory to use, such as 30GB; without it what is available here\n"
      "  --disk TEXT         disk space to use, such as 500GB; without it what is free at --disk-path\n"
      "  --disk-path TEXT    the folder whose disk is meant (the current one)\n"
      "  --alloc-conf TEXT   PYTORCH_ALLOC_CONF of torch strategies: expandable_segments:True,max_split_size_mb:128 "
      "and "
      "the like\n"
      "  --machine TEXT      a file with rates and budgets that replace those of the table; sizes given here win\n"
      "  --dtype TEXT        bf16, fp16, fp32, int8, nf4, fp8, gptq, q4_k_m and more; auto, or without it, as the "
      "checkpoint holds it\n"
      "  --batch N           sequences at once (1)\n"
      "  --prompt TEXT       tokens of each prompt (512; of whisper's decoder: 4)\n"
      "  --new N             tokens to generate for each sequence (128)\n"
      "  --kv TEXT           dynamic, static, or none: the whole context again for each token; without it each "
      "runtime's "
      "own\n"
      "  --strategy TEXT     resident, ring or sequential-offload\n"
      "  --json              print JSON\n"
      "  --completion SHELL  a completion script for bash, zsh or fish\n"
      "  --help              this text\n"
      "  --version           the version\n"
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

// A tool whose PLAN stands for --gpu; --model may be given with it.
std::string WithPlan(std::vector<const char*> argv) {
  std::optional<std::string> plan, gpu, model;
  CommandLine line("simulate", "predicts");
  line.Positional("PLAN", &plan, "a plan");
  line.Option("--model", &model, "a model");
  line.Option("--gpu", &gpu, "a card");
  line.Require("--model");
  line.Require("--gpu");
  line.Replaces("PLAN", {"--gpu"}, {"--model"});
  argv.insert(argv.begin(), "simulate");
  const CommandLine::Outcome outcome = line.ParseQuietly(static_cast<int>(argv.size()), argv.data());
  return outcome.error + outcome.out;
}

TEST(CommandLine, AnArgumentReplacesOptionsThatAreRequiredWithoutIt) {
  EXPECT_EQ(WithPlan({"p.json"}), "");
  EXPECT_EQ(WithPlan({"p.json", "--model", "m"}), "");
  EXPECT_EQ(WithPlan({"--model", "m", "--gpu", "t4"}), "");
  EXPECT_EQ(WithPlan({"--model", "m"}), "simulate: --gpu is missing; see simulate --help\n");
  EXPECT_EQ(WithPlan({"p.json", "--gpu", "t4"}), "simulate: --gpu cannot be given with PLAN, which says it\n");
  EXPECT_NE(WithPlan({"--help"}).find("--gpu TEXT          a card (required without PLAN)\n"), std::string::npos);
}

TEST(CommandLine, ListsTheWordsThatCompletionOffers) {
  std::string command;
  bool json = false;
  CommandLine line("inspect", "shows");
  line.Positional("COMMAND", &command, "what to show");
  line.Require("COMMAND");
  line.Words("COMMAND", {"dump", "diff"});
  line.Flag("--json", &json, "print JSON");
  const char* words[] = {"inspect", "--completion", "words"};
  EXPECT_EQ(line.ParseQuietly(3, words).out, "dump\ndiff\n--json\n--help\n--version\n");
}

TEST(CommandLine, RefusesCompletionOfAnUnknownShell) {
  EXPECT_EQ(Refusal({"--completion", "csh"}), "--completion: 'csh' is not bash, zsh or fish");
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
