// Op graphs of all families: what must hold for each, and the graphs of small models op by op.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/families/ops/attention.h"
#include "planner/families/ops/mlp.h"
#include "planner/families/testing/tiny_models.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

constexpr const char* kGolden = "planner/families/goldens/op_graphs.txt";
constexpr std::int64_t kPositions = 9;

Pass Prefill(bool all_logits = false) {
  return {.kind = Pass::Kind::kPrefill, .batch = 2, .tokens = 6, .all_logits = all_logits};
}
Pass Decode() { return {.kind = Pass::Kind::kDecode, .batch = 2, .tokens = 1, .past = 6, .past_step = 1, .prompt = 6}; }

// The prefill, and the decode pass of a llama and of one family for each other way to decode, without the prefixes that
// every line shares.
std::string Text(const TinyConfig& tiny) {
  const Model model = TinyModel(tiny);
  const std::string_view name = tiny.name;
  const bool decodes = name == "llama" || name == "gemma2" || name == "llama4_text" || name == "deepseek_v2" ||
                       name == "t5 with its decoder" || name == "whisper";
  std::string text = fmt::format("== {}\n", tiny.name);
  for (const Pass& pass : {Prefill(), Decode()}) {
    if (pass.past > 0 && !decodes) continue;
    const Result<OpGraph> graph = BuildOpGraph(model, pass, kPositions);
    text += graph ? Dump(*graph, model) : graph.error().message + "\n";
  }
  const std::pair<std::string_view, std::string_view> shorter[] = {
      {"model.layers.", ""}, {"layers.", ""},   {"transformer.h.", ""},          {"transformer.", ""},
      {"encoder.", ""},      {"gpt_neox.", ""}, {"language_model.", ""},         {"self_attention.", ""},
      {"self_attn.", ""},    {".weight", ""},   {" weight_bytes ", " weights "}, {" activation_bytes ", " moved "}};
  for (const auto& [from, to] : shorter) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;) text.replace(at, from.size(), to);
  }
  return text;
}

// The file is this test's own output, read through by a human; a failing run leaves the new text beside its log.
TEST(OpGraphs, OfEveryFamilyReadLikeThis) {
  std::string all;
  for (const TinyConfig& tiny : TinyConfigs()) all += Text(tiny);
  const Result<std::string> golden = ReadTextFile(kGolden, 1 << 22);
  const bool same = golden && *golden == all;
  const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  if (!same && outputs != nullptr) {
    std::FILE* file = std::fopen((std::string(outputs) + "/op_graphs.txt").c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fwrite(all.data(), 1, all.size(), file);
    std::fclose(file);
  }
  ASSERT_TRUE(golden) << golden.error().message;
  std::size_t begin = 0, line = 1;
  while (begin < all.size() && begin < golden->size()) {
    const std::string a = all.substr(begin, all.find('\n', begin) - begin);
    ASSERT_EQ(a, golden->substr(begin, golden->find('\n', begin) - begin)) << kGolden << ":" << line;
    begin += a.size() + 1;
    ++line;
  }
  EXPECT_TRUE(same) << "one of the two ends early, at line " << line;
}

// Parameters that a text pass does not touch, or several ops do.
bool IsException(const Tensor& t) {
  for (const char* part : {"vision_tower.", "vision_model.", "multi_modal_projector."}) {
    if (t.name.starts_with(part)) return true;
  }
  return t.name.ends_with("relative_attention_bias.weight");  // t5: one table for the attention of all layers
}

// Of an encoder-decoder: what a decode pass does without. (T5's encoder alone has no decode pass.)
bool OfTheEncoder(const Tensor& t) {
  for (const char* part : {"EncDecAttention.k.", "EncDecAttention.v.", "encoder_attn.k_proj", "encoder_attn.v_proj"}) {
    if (t.name.find(part) != std::string::npos) return true;
  }
  return t.name == "shared.weight" || t.name.starts_with("encoder.") || t.name.starts_with("model.encoder.");
}

TEST(OpGraphs, UseEveryParameterOnce) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    const Model model = TinyModel(tiny);
    for (const Pass& pass : {Prefill(), Decode()}) {
      if (pass.past > 0 && !MakesTokens(model)) continue;
      const Result<OpGraph> graph = BuildOpGraph(model, pass, kPositions);
      ASSERT_TRUE(graph) << tiny.name << ": " << graph.error().message;
      std::vector<int> uses(model.tensors.size());
      for (const Op& op : graph->ops) {
        for (const TensorId t : op.weights) ++uses[static_cast<std::size_t>(t)];
      }
      for (std::size_t t = 0; t < uses.size(); ++t) {
        const Tensor& tensor = model.tensors[t];
        // A copy that is tied may be another name for what is used already (t5's embed_tokens).
        if (tensor.buffer || IsException(tensor) || (tensor.tied_to != kNoId && uses[t] == 0)) continue;
        const bool encoded = pass.past > 0 && OfTheEncoder(tensor);
        EXPECT_EQ(uses[t], encoded ? 0 : 1) << tiny.name << ", " << pass.Name() << ": " << tensor.name;
      }
    }
  }
}

// The referee: the mean over every way in which the rows can choose.
TEST(ExpectedExperts, IsTheMeanOverAllChoices) {
  for (const int experts : {1, 2, 4, 5}) {
    for (int per_row = 1; per_row <= experts; ++per_row) {
      std::vector<unsigned> choices;  // of one row, as sets of bits
      for (unsigned set = 0; set < 1u << experts; ++set) {
        if (std::popcount(set) == per_row) choices.push_back(set);
      }
      std::map<unsigned, double> chosen = {{0u, 1.0}};  // by all rows so far, with its probability
      for (int rows = 1; rows <= 4; ++rows) {
        std::map<unsigned, double> next;
        double mean = 0;
        for (const auto& [set, probability] : chosen) {
          for (const unsigned more : choices) next[set | more] += probability / static_cast<double>(choices.size());
        }
        for (const auto& [set, probability] : next) mean += probability * std::popcount(set);
        EXPECT_NEAR(ExpectedExperts(experts, per_row, rows), mean, 1e-12) << experts << " " << per_row << " " << rows;
        chosen = std::move(next);
      }
    }
  }
}

// Of a model: 2 FLOPs for each row and each weight of a matrix that multiplies it, of experts for each that is chosen,
// and 1 for each bias added. Rows are the pass's, the frames' of whisper's convolutions, or one a sequence.
TEST(OpGraphs, MultiplyEveryRowByEveryMatrixOnceWhateverThePass) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    const Model model = TinyModel(tiny);
    if (!MakesTokens(model) || IsEncoderDecoder(model)) continue;
    for (const Pass& pass : {Prefill(true), Decode()}) {
      const OpGraph graph = *BuildOpGraph(model, pass, kPositions);
      const double rows = static_cast<double>(pass.batch * pass.tokens);
      double counted = 0, expected = 0;
      for (const Op& op : graph.ops) {
        if (op.kind == OpKind::kLinear || op.kind == OpKind::kGroupedLinear) counted += op.flops.base;
        if (op.kind != OpKind::kLatentAttention) continue;
        const TransformerShape& s = model.shape;
        const auto pairs = static_cast<double>(pass.batch * s.heads * (pass.past + 1));
        counted += op.flops.base - pairs * 2 * static_cast<double>(2 * s.kv_lora_rank + s.rope_head_dim);
      }
      const TransformerShape& s = model.shape;
      for (const Tensor& t : model.tensors) {
        const std::string module = model.modules[static_cast<std::size_t>(t.module)].class_name;
        const bool table = module.ends_with("Embedding") || t.name.find("embed_positions") != std::string::npos;
        if (t.buffer || IsException(t) || table || t.weights_per_element == 0) continue;
        const bool experts = t.name.find(".experts.") != std::string::npos;
        const double share = experts ? static_cast<double>(s.experts_per_token) / static_cast<double>(s.experts) : 1;
        const double elements = static_cast<double>(Elements(t.shape) * t.weights_per_element);
        const bool norm = module.find("Norm") != std::string::npos || t.name.ends_with("sinks") ||
                          t.name.ends_with("e_score_correction_bias");
        if (norm) continue;
        const bool bias = t.name.ends_with("bias");
        expected += rows * share * elements * (bias ? 1 : 2);
      }
      EXPECT_NEAR(counted, expected, 1e-9 * expected) << tiny.name << ", " << pass.Name();
    }
  }
}

TEST(OpGraphs, ReadTheWholeOfEveryMatrixOfADenseModelOnce) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    const Model model = TinyModel(tiny);
    const OpGraph graph = *BuildOpGraph(model, Prefill(), kPositions);
    std::int64_t counted = 0, expected = 0;
    for (const Op& op : graph.ops) {
      if (op.kind == OpKind::kEmbedding || op.kind == OpKind::kAddRows || op.kind == OpKind::kGroupedLinear) continue;
      counted += op.weight_bytes.base;
      for (const TensorId t : op.weights) expected += model.tensors[static_cast<std::size_t>(t)].bytes().value();
    }
    EXPECT_EQ(counted, expected) << tiny.name;
  }
}

TEST(OpGraphs, PassValuesFromOpToOpInOrder) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    const Model model = TinyModel(tiny);
    const OpGraph graph = *BuildOpGraph(model, Prefill(), kPositions);
    std::set<ValueId> made = {graph.token_ids, graph.source_ids, graph.input};
    for (const Op& op : graph.ops) {
      for (const ValueId v : op.inputs) EXPECT_TRUE(made.contains(v)) << tiny.name << ": " << op.name;
      for (const ValueId v : op.outputs) EXPECT_TRUE(made.insert(v).second) << tiny.name << ": " << op.name;
    }
    EXPECT_TRUE(made.contains(MakesTokens(model) ? graph.logits : graph.output)) << tiny.name;
  }
}

// The referee: every way in which `rows` rows can each choose `k` of `experts`.
double AverageTouched(int experts, int k, int rows) {
  std::vector<unsigned> choices;
  for (unsigned set = 0; set < (1U << experts); ++set) {
    if (__builtin_popcount(set) == k) choices.push_back(set);
  }
  std::vector<unsigned> unions = {0};
  for (int r = 0; r < rows; ++r) {
    std::vector<unsigned> next;
    for (const unsigned u : unions) {
      for (const unsigned c : choices) next.push_back(u | c);
    }
    unions = std::move(next);
  }
  double sum = 0;
  for (const unsigned u : unions) sum += __builtin_popcount(u);
  return sum / static_cast<double>(unions.size());
}

TEST(ExpectedExperts, IsTheMeanOverAllWaysToChoose) {
  for (int experts = 1; experts <= 5; ++experts) {
    for (int k = 1; k <= experts; ++k) {
      for (int rows = 1; rows <= 4; ++rows) {
        EXPECT_NEAR(ExpectedExperts(experts, k, rows), AverageTouched(experts, k, rows), 1e-12)
            << experts << " " << k << " " << rows;
      }
    }
  }
}

// Counted one query at a time.
std::int64_t CountSeen(Seen::Kind kind, std::int64_t size, std::int64_t position) {
  if (kind == Seen::Kind::kAll) return position + 1;
  return kind == Seen::Kind::kWindow ? std::min(position + 1, size) : position % size + 1;
}

TEST(Seen, PairsOfAPhaseAddUpToThoseCountedQueryByQuery) {
  for (const auto kind : {Seen::Kind::kAll, Seen::Kind::kWindow, Seen::Kind::kChunk}) {
    for (std::int64_t size = 1; size <= 7; ++size) {
      const Seen seen(kind, size);
      for (std::int64_t past = 0; past <= 9; ++past) {
        std::int64_t before = 0;
        for (std::int64_t p = 0; p < past; ++p) before += CountSeen(kind, size, p);
        EXPECT_EQ(seen.Before(past), before);
        for (std::int64_t end = past + 1; end <= past + 12; ++end) {
          const AffineFlops line = seen.Pairs({.tokens = 1, .past = past, .past_step = 1}, end);
          double sum = 0, counted = 0;
          for (std::int64_t i = 0; i < end - past; ++i) {
            EXPECT_GT(line.at(i).value(), 0);
            sum += line.at(i).value();
            counted += static_cast<double>(CountSeen(kind, size, past + i));
          }
          EXPECT_NEAR(sum, counted, 1e-9 * counted);
          if (kind == Seen::Kind::kChunk) continue;
          EXPECT_NEAR(line.at(end - past - 1).value(), static_cast<double>(CountSeen(kind, size, end - 1)), 1e-9);
        }
      }
    }
  }
}

TEST(OpGraphs, RefuseWhatTheyCannotDescribeNamingIt) {
  const auto configs = TinyConfigs();
  const auto named = [&](std::string_view name) {
    return TinyModel(*std::find_if(configs.begin(), configs.end(), [&](const auto& c) { return name == c.name; }));
  };
  const Pass later{.kind = Pass::Kind::kPrefill, .batch = 1, .tokens = 2, .past = 3};
  EXPECT_EQ(
      BuildOpGraph(named("mistral"), later, 9).error().message,
      "prefill(batch 1, tokens 2): 2 tokens after 3, over a window of 4: only a first or a single token's pass is "
      "described");
  Model sparse = named("mixtral");
  sparse.shape.experts_per_token = 5;
  EXPECT_EQ(BuildOpGraph(sparse, Prefill(), 9).error().message,
            "model 'mixtral': model.layers.0.block_sparse_moe.experts has 4 experts, of which a token takes 5");
  Model unknown = named("llama");
  unknown.family = "zephyrnet";
  EXPECT_EQ(BuildOpGraph(unknown, Prefill(), 9).error().message, "model 'llama': no op graph for family zephyrnet");
}

}  // namespace
}  // namespace stowage
