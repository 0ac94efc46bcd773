#include "reports/plan_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "planner/machine/build_machine.h"
#include "reports/plan_json.h"
#include "reports/plan_text.h"

namespace stowage {
namespace {

// Invented figures of a plausible size.
PlanReport LlamaOn15GB() {
  PlanReport r;
  r.model = {.name = "llama-8b",
             .family = "llama",
             .parameters = 8'030'261'248,
             .weights = Bytes(16'060'522'496),
             .dtype = "bf16",
             .layers = 32,
             .kv_per_token = Bytes(131'072)};
  r.request = {.batch = 1, .prompt_tokens = 512, .new_tokens = 128, .dtype = std::nullopt, .all_logits = false};
  r.machine = *BuildMachine({.gpus = {"15GB"}, .cpu = "30GB"}, {});
  r.strategies = {{.name = "ring",
                   .runtime = "native",
                   .fits = true,
                   .peak = {{"gpu0", Bytes(14'990'000'000)}, {"host", Bytes(2'617'245'696)}},
                   .first_token = Seconds(0.61),
                   .per_token = Seconds(0.234),
                   .limit = "gpu0.h2d, busy 91 %",
                   .why_not = "",
                   .least_gpu = Bytes(601'700'000)},
                  {.name = "sequential-offload",
                   .runtime = "torch",
                   .fits = true,
                   .peak = {{"gpu0", Bytes(2'210'000'000)}, {"host", Bytes(16'060'522'496)}},
                   .first_token = Seconds(3.4),
                   .per_token = Seconds(2.75),
                   .limit = "gpu0.h2d, busy 97 %",
                   .why_not = ""},
                  {.name = "resident",
                   .runtime = "native",
                   .fits = false,
                   .peak = {{"gpu0", Bytes(16'690'000'000)}, {"host", Bytes(268'435'456)}},
                   .first_token = std::nullopt,
                   .per_token = std::nullopt,
                   .limit = "",
                   .why_not = "gpu0 is 1.69 GB short",
                   .least_gpu = Bytes(16'690'000'000)}};
  r.chosen = "ring";
  r.contents = {
      {.pool = "gpu0",
       .budget = Bytes(15'000'000'000),
       .parts = {{"weights resident", Bytes(13'443'276'800)},
                 {"ring", Bytes(872'415'232)},
                 {"kv", Bytes(83'755'008)},
                 {"activations", Bytes(111'149'056)},
                 {"CUDA context", kCudaContext},
                 {"free", Bytes(10'172'672)}}},
      {.pool = "host", .budget = Bytes(30'000'000'000), .parts = {{"weights streamed", Bytes(2'617'245'696)}}}};
  r.packing = {{"gpu0 activations", Bytes(111'149'056), Bytes(110'100'480)}};
  r.would_help = {"+1.69 GB of gpu0 (16.69 GB in all) and all of it is resident."};
  r.paste = {{.title = "transformers", .lines = {"f(", "    1,", ")"}, .notes = {"One sentence."}}};
  return r;
}

TEST(PlanText, ShowsTheWholeAnswerOnOneScreen) {
  EXPECT_EQ(
      PlanText(LlamaOn15GB(), false),
      "llama-8b (llama): 8,030,261,248 parameters, 32 layers, 16.06 GB of bf16 weights, 131.1 kB of KV cache a token\n"
      "request: batch 1, prompt 512, 128 new tokens\n"
      "machine: generic card 15.00 GB, host 30.00 GB\n"
      "- 479.2 MB set aside on gpu0 for the CUDA context (assumed: seen between 256 MiB (torch 2.7, RTX\n"
      "  3090) and 457 MiB (ollama's reserve); the largest is taken).\n"
      "- gpu0: only a size was given, so its rates are assumed: 21.2 TFLOPS fp16 and 234 GB/s as a T4, the\n"
      "  slowest card known here; bf16 as fast as fp16; PCIe 3.0 x16, measured 12.4 GB/s up and 13.1 down\n"
      "  pinned, 6.2 pageable (what accelerate's OPT-30B row implies); an x8 cloud link gives 6.3. Name the\n"
      "  card for better times: --gpu t4, --gpu rtx4090:22GiB.\n"
      "- host: 100 GFLOPS fp32 and 40 GB/s assumed (8 cores, two channels). disk: 2.90 GB/s (one NVMe\n"
      "  drive, fio), 1.00 TB assumed.\n"
      "- A host thread pays 3.00 us for a native launch, 12.00 us for a torch operator (single eager\n"
      "  kernels on an RTX 4090 show 9-14 us), 50.00 us for a module hook, 100.0 us for cudaMalloc or\n"
      "  cudaFree, 10.00 us for empty_cache; all but the second assumed.\n"
      "\n"
      "strategy            runtime  fits      gpu0      host  needs gpu0  first token  per token  tokens/s  limited "
      "by\n"
      "ring                native   yes   14.99 GB   2.62 GB    601.7 MB     610.0 ms   234.0 ms      4.27  gpu0.h2d, "
      "busy 91 %\n"
      "sequential-offload  torch    yes    2.21 GB  16.06 GB           -       3.40 s     2.75 s     0.364  gpu0.h2d, "
      "busy 97 %\n"
      "resident            native   no    16.69 GB  268.4 MB    16.69 GB            -          -         -  gpu0 is "
      "1.69 GB short\n"
      "\n"
      "chosen: ring\n"
      "  gpu0  13.44 GB  weights resident\n"
      "        872.4 MB  ring\n"
      "        83.76 MB  kv\n"
      "        111.1 MB  activations\n"
      "        479.2 MB  CUDA context\n"
      "        10.17 MB  free\n"
      "        15.00 GB  budget\n"
      "  host   2.62 GB  weights streamed\n"
      "        30.00 GB  budget\n"
      "  packing of gpu0 activations: 111.1 MB, live-bytes bound 110.1 MB, gap 1.0 %\n"
      "\n"
      "what would help\n"
      "- +1.69 GB of gpu0 (16.69 GB in all) and all of it is resident.\n"
      "\n"
      "to paste: transformers\n"
      "  f(\n"
      "      1,\n"
      "  )\n"
      "- One sentence.\n");
}

TEST(PlanText, SaysTheSmallestBudgetWhenNothingFits) {
  PlanReport r = LlamaOn15GB();
  r.strategies.erase(r.strategies.begin(), r.strategies.begin() + 2);
  r.chosen.clear();
  r.contents.clear();
  r.packing.clear();
  r.would_help.clear();
  r.paste.clear();
  r.machine.reservations.clear();
  r.machine.assumptions.clear();
  r.request.dtype = DType::kF16;
  r.smallest_budget = SmallestBudget{"gpu0", Bytes(1'600'000'001), "ring"};
  EXPECT_EQ(
      PlanText(r, false),
      "llama-8b (llama): 8,030,261,248 parameters, 32 layers, 16.06 GB of bf16 weights, 131.1 kB of KV cache a token\n"
      "request: batch 1, prompt 512, 128 new tokens, fp16\n"
      "machine: generic card 15.00 GB, host 30.00 GB\n"
      "\n"
      "strategy  runtime  fits      gpu0      host  needs gpu0  first token  per token  tokens/s  limited by\n"
      "resident  native   no    16.69 GB  268.4 MB    16.69 GB            -          -         -  gpu0 is 1.69 GB "
      "short\n"
      "\n"
      "nothing fits; the smallest budget that would do is 1.60 GB (1,600,000,001 bytes) of gpu0, with ring\n");
}

std::string PartFrom(const std::string& text, const std::string& first) {
  const std::size_t at = text.find(first);
  return at == std::string::npos ? text : text.substr(at, text.find("\n\n", at) - at);
}

TEST(PlanText, ShowsWhichFormatsFitAndWhatWouldStayOfTheOthers) {
  PlanReport r = LlamaOn15GB();
  r.formats = {{"auto", "as it is", Bytes(16'060'522'496), Bytes(16'661'225'472), false, Bytes(14'000'000'000)},
               {"int8", "a scale a row", Bytes(9'086'705'664), Bytes(9'687'408'640), true, std::nullopt}};
  EXPECT_EQ(PartFrom(PlanText(r, false), "which formats"),
            "which formats fit with everything on gpu0\n"
            "--dtype   weights  needs gpu0  resident         what it is\n"
            "auto     16.06 GB    16.66 GB  14.00 GB (87 %)  as it is\n"
            "int8      9.09 GB     9.69 GB  all              a scale a row");
  r.formats[0].resident.reset();
  EXPECT_NE(PlanText(r, false).find("auto     16.06 GB    16.66 GB  no        as it is\n"), std::string::npos);
}

TEST(PlanText, SaysInOneSentenceThatAllFormatsFitAndNothingOfASingleOne) {
  PlanReport r = LlamaOn15GB();
  r.formats = {{"auto", "as it is", Bytes(2'000), Bytes(3'000), true, std::nullopt}};
  EXPECT_EQ(PlanText(r, false).find("format"), std::string::npos);
  r.formats.push_back({"int8", "a scale a row", Bytes(1'000), Bytes(2'000), true, std::nullopt});
  EXPECT_EQ(PartFrom(PlanText(r, false), "All 2"),
            "All 2 number formats fit with everything on gpu0, from auto (needs 3.00 kB) to int8 (2.00 kB).");
}

TEST(PlanText, TheSourceOfTheModelAndItsNotesFollowItsLine) {
  PlanReport r = LlamaOn15GB();
  r.model.source = "a folder";
  r.model.notes = {"The files hold fp16, the config says bf16."};
  const std::string text = PlanText(r, false);
  EXPECT_NE(text.find(" a token\nsource: a folder\n- The files hold fp16, the config says bf16.\nrequest: "),
            std::string::npos)
      << text;
}

TEST(PlanText, IntervalsAreSaidOfTheChosenOneAndOfTheMachine) {
  PlanReport r = LlamaOn15GB();
  r.strategies[0].first_token_low = Seconds(0.5);
  r.strategies[0].first_token_high = Seconds(1);
  r.strategies[0].per_token_low = Seconds(0.2);
  r.strategies[0].per_token_high = Seconds(0.4);
  const std::string text = PlanText(r, false);
  EXPECT_NE(text.find("chosen: ring\n  first token 610.0 ms (500.0 ms to 1.00 s), per token 234.0 ms (200.0 ms to "
                      "400.0 ms)\n  gpu0 "),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("- Low and high are with all of these at an end of their interval: gpu0.sm "), std::string::npos);
}

TEST(PlanText, EstimatesAreMarkedAsSuch) {
  PlanReport r = LlamaOn15GB();
  r.basis = PlanBasis::kClosedForms;
  r.basis_note = "Closed forms.";
  r.chosen.clear();
  const std::string text = PlanText(r, false);
  EXPECT_NE(text.find("- Closed forms.\n"), std::string::npos);
  EXPECT_NE(text.find("first token ~  per token ~  tokens/s ~  limited by\n"), std::string::npos);
  EXPECT_EQ(text.find("chosen"), std::string::npos);
  EXPECT_EQ(text.find("nothing fits"), std::string::npos);
}

TEST(PlanText, WithoutTimesTheTableHasNoneAndFactsFollowIt) {
  PlanReport r = LlamaOn15GB();
  r.basis = PlanBasis::kSizesOnly;
  r.chosen.clear();
  r.strategies.resize(1);
  r.strategies[0].limit.clear();
  r.facts = {"12 blocks."};
  const std::string text = PlanText(r, false);
  EXPECT_NE(text.find("strategy  runtime  fits      gpu0     host  why not\n"
                      "ring      native   yes   14.99 GB  2.62 GB\n"
                      "\n"
                      "- 12 blocks.\n"),
            std::string::npos)
      << text;
}

TEST(PlanText, ColoursKeepTheColumns) {
  std::string coloured = PlanText(LlamaOn15GB(), true);
  EXPECT_NE(coloured.find("\x1b[32mring "), std::string::npos);  // the chosen line is green
  for (std::size_t at = coloured.find('\x1b'); at != std::string::npos; at = coloured.find('\x1b')) {
    coloured.erase(at, coloured.find('m', at) - at + 1);
  }
  EXPECT_EQ(coloured, PlanText(LlamaOn15GB(), false));
}

TEST(PlanText, OneReservationOnSeveralCardsIsOneLine) {
  PlanReport r = LlamaOn15GB();
  r.machine = *BuildMachine({.gpus = {"2x24GiB"}, .cpu = "30GB"}, {});
  EXPECT_NE(PlanText(r, false).find("- 479.2 MB set aside on gpu0, gpu1 for the CUDA context (assumed: "),
            std::string::npos);
}

// One member of the answer, as it is written.
std::string Member(const PlanReport& report, const char* name) {
  const Result<std::string> json = PlanJson(report, R"({"version": 1})");
  EXPECT_TRUE(json);
  return nlohmann::ordered_json::parse(*json)[name].dump(2);
}

TEST(PlanJson, HasExactlyTheDocumentedMembers) {
  const Result<std::string> json = PlanJson(LlamaOn15GB(), R"({"version": 1})");
  ASSERT_TRUE(json);
  const auto parsed = nlohmann::ordered_json::parse(*json);
  std::vector<std::string> names;
  for (const auto& [name, value] : parsed.items()) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"model", "machine", "request", "strategies", "formats", "chosen", "plan"}));
  EXPECT_EQ(Member(LlamaOn15GB(), "chosen"), R"("ring")");
  EXPECT_EQ(Member(LlamaOn15GB(), "plan"), "{\n  \"version\": 1\n}");
}

TEST(PlanJson, DescribesTheModelAndTheMachine) {
  PlanReport r = LlamaOn15GB();
  r.machine.assumptions = {"gpu0: a size only."};
  r.strategies[0].least_gpu.reset();
  EXPECT_EQ(Member(r, "model"), R"({
  "name": "llama-8b",
  "family": "llama",
  "parameters": 8030261248,
  "weights_bytes": 16060522496,
  "dtype": "bf16",
  "layers": 32,
  "kv_bytes_per_token": 131072,
  "source": "",
  "notes": []
})");
  EXPECT_EQ(Member(r, "machine"), R"({
  "name": "generic card 15.00 GB, host 30.00 GB",
  "budget_bytes": {
    "gpu0": 15000000000,
    "host": 30000000000,
    "disk": 1000000000000
  },
  "reserved": [
    {
      "pool": "gpu0",
      "name": "CUDA context",
      "bytes": 479199232,
      "origin": "assumed",
      "source": "seen between 256 MiB (torch 2.7, RTX 3090) and 457 MiB (ollama's reserve); the largest is taken"
    }
  ],
  "assumptions": [
    "gpu0: a size only."
  ],
  "smallest_budget_bytes": {
    "resident": 16690000000
  }
})");
}

TEST(PlanJson, DescribesTheRequestAndEachStrategy) {
  PlanReport r = LlamaOn15GB();
  r.strategies.erase(r.strategies.begin() + 1);
  EXPECT_EQ(Member(r, "request"), R"({
  "batch": 1,
  "prompt_tokens": 512,
  "new_tokens": 128,
  "dtype": null,
  "kv": null,
  "load": null,
  "load_dtype": null,
  "page_cache": "cold",
  "basis": "simulated"
})");
  EXPECT_EQ(Member(r, "strategies"), R"([
  {
    "name": "ring",
    "fits": true,
    "peak_bytes": {
      "gpu0": 14990000000,
      "host": 2617245696
    },
    "seconds": {
      "first_token": 0.61,
      "per_token": 0.234
    },
    "limit": "gpu0.h2d, busy 91 %",
    "why_not": ""
  },
  {
    "name": "resident",
    "fits": false,
    "peak_bytes": {
      "gpu0": 16690000000,
      "host": 268435456
    },
    "seconds": {
      "first_token": null,
      "per_token": null
    },
    "limit": "",
    "why_not": "gpu0 is 1.69 GB short"
  }
])");
}

TEST(PlanJson, OfAFormatThatDoesNotFitTheResidentBytesAreWhatTheChosenStrategyKeepsOrNull) {
  PlanReport r = LlamaOn15GB();
  r.formats = {{"auto", "as it is", Bytes(16), Bytes(17), false, Bytes(14)},
               {"int8", "a scale a row", Bytes(8), Bytes(9), true, std::nullopt},
               {"nf4", "blocks", Bytes(4), Bytes(5), false, std::nullopt}};
  EXPECT_EQ(
      nlohmann::ordered_json::parse(Member(r, "formats")).dump(),
      R"([{"dtype":"auto","about":"as it is","weights_bytes":16,"needed_bytes":17,"fits":false,"resident_bytes":14},)"
      R"({"dtype":"int8","about":"a scale a row","weights_bytes":8,"needed_bytes":9,"fits":true,"resident_bytes":8},)"
      R"({"dtype":"nf4","about":"blocks","weights_bytes":4,"needed_bytes":5,"fits":false,"resident_bytes":null}])");
}

TEST(PlanJson, WithoutAPlanBothChosenAndPlanAreNull) {
  PlanReport r = LlamaOn15GB();
  r.chosen.clear();
  r.smallest_budget = SmallestBudget{"gpu0", Bytes(1'600'000'001), "ring"};
  const auto json = nlohmann::json::parse(*PlanJson(r, ""));
  EXPECT_TRUE(json["chosen"].is_null());
  EXPECT_TRUE(json["plan"].is_null());
  EXPECT_EQ(json["smallest_budget"].dump(), R"({"bytes":1600000001,"pool":"gpu0","strategy":"ring"})");
}

TEST(PlanJson, RefusesAPlanThatIsNoJson) {
  const Result<std::string> json = PlanJson(LlamaOn15GB(), "{");
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().code, ErrorCode::kInternal);
}

TEST(SortBestFirst, OrdersByTheWholeRequestAndLeavesEqualsAndTheRestAsTheyAre) {
  const auto fits = [](std::string name, double first, double later) {
    return StrategyLine{std::move(name), "native", true, {}, Seconds(first), Seconds(later), "", ""};
  };
  const auto refused = [](std::string name) {
    return StrategyLine{std::move(name), "native", false, {}, std::nullopt, std::nullopt, "", "too large"};
  };
  std::vector<StrategyLine> lines = {refused("z"), fits("slow start", 10, 1), fits("slow", 1, 3), refused("a"),
                                     fits("slow twin", 1, 3)};
  const auto names = [&] {
    std::string all;
    for (const StrategyLine& line : lines) all += line.name + "; ";
    return all;
  };
  SortBestFirst(lines, 10);
  EXPECT_EQ(names(), "slow start; slow; slow twin; z; a; ");
  SortBestFirst(lines, 0);
  EXPECT_EQ(names(), "slow; slow twin; slow start; z; a; ");
}

}  // namespace
}  // namespace stowage
