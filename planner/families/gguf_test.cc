#include "planner/families/gguf.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "planner/families/families.h"
#include "planner/formats/gguf_writer.h"

namespace stowage {
namespace {

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ8_0 = 8;

// As ReadGgufCheckpoint gives it for one file.
Result<Model> Build(const GgufWriter& writer, std::size_t data) {
  const std::string file = writer.File(data);
  STOWAGE_TRY(GgufHeader header, ParseGgufHeader(file, static_cast<std::int64_t>(file.size()), "f.gguf"));
  GgufCheckpoint checkpoint;
  checkpoint.files.files = {"f.gguf"};
  checkpoint.stem = "f";
  for (StoredTensor& t : header.tensors) {
    checkpoint.files.tensors.push_back({std::move(t.name), std::move(t.shape), {0, t.offset, t.dtype}});
  }
  checkpoint.metadata = std::move(header.metadata);
  return BuildGgufModel(std::move(checkpoint));
}

std::string Tree(const Model& model) {
  std::string out;
  for (const Module& m : model.modules) {
    out += fmt::format("'{}' {} in {}:", m.name, m.class_name, m.parent);
    for (const TensorId t : m.tensors) {
      EXPECT_EQ(&model.modules[model.tensors[t].module], &m);
      out += fmt::format(" {}#{}", model.tensors[t].name, t);
    }
    for (const ModuleId c : m.children) out += fmt::format(" +{}", c);
    out += "\n";
  }
  return out;
}

GgufWriter Llama() {
  return GgufWriter()
      .String("general.architecture", "llama")
      .U32("llama.block_count", 2)
      .U32("llama.embedding_length", 64)
      .U32("llama.feed_forward_length", 96)
      .U32("llama.attention.head_count", 4)
      .U32("llama.context_length", 512)
      .F32("llama.rope.freq_base", 5e5F)
      .Array("tokenizer.ggml.tokens", GgufType::kString, 1, GgufWriter::Text("a"));
}

TEST(GgufModel, TreeFollowsTheNamesInPreOrder) {
  const auto model = Build(GgufWriter()
                               .Tensor("output_norm.weight", {8}, kF32, 0)
                               .Tensor("blk.1.attn_q.weight", {8}, kF32, 32)
                               .Tensor("token_embd.weight", {8}, kF32, 64)
                               .Tensor("blk.0.attn_q.weight", {8}, kF32, 96)
                               .Tensor("blk.1.attn_q.bias", {8}, kF32, 128)
                               .Tensor("v.blk.0.scale", {8}, kF32, 160)
                               .Tensor("blk.x.y", {8}, kF32, 192)
                               .Tensor("plain", {8}, kF32, 224),
                           256);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(Tree(*model),
            "'' Gguf in -1: +1 +2 +7 +8 +10 +11\n"
            "'output_norm' GgufOp in 0: output_norm.weight#0\n"
            "'blk' GgufLayers in 0: +3 +5\n"
            "'blk.1' GgufLayer in 2: +4\n"
            "'blk.1.attn_q' GgufOp in 3: blk.1.attn_q.weight#1 blk.1.attn_q.bias#2\n"
            "'blk.0' GgufLayer in 2: +6\n"
            "'blk.0.attn_q' GgufOp in 5: blk.0.attn_q.weight#3\n"
            "'token_embd' GgufOp in 0: token_embd.weight#4\n"
            "'v.blk' GgufLayers in 0: +9\n"
            "'v.blk.0' GgufLayer in 8: v.blk.0.scale#5\n"
            "'blk.x' GgufOp in 0: blk.x.y#6\n"
            "'plain' GgufOp in 0: plain#7\n");
  EXPECT_EQ(model->family, "gguf/unknown");
  EXPECT_EQ(model->WeightBytes(), Bytes(256));
  EXPECT_EQ(CacheBytesPerPosition(*model), Bytes(0));
}

TEST(GgufModel, LlamaHasTheSizesOfItsCache) {
  const auto model = Build(Llama().U32("llama.attention.head_count_kv", 2).Tensor("x.weight", {32}, kQ8_0, 0), 34);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->family, "gguf/llama");
  EXPECT_EQ(model->shape.head_dim, 16);
  EXPECT_EQ(model->shape.vocab, 1);
  EXPECT_EQ(model->shape.rope_theta, 5e5);
  EXPECT_EQ(CacheBytesPerPosition(*model), Bytes(2 * 2 * 2 * 16 * 2));  // layers, k and v, heads, head_dim, fp16
}

TEST(GgufModel, KeyValueHeadsAreTheQuerysWithoutAnEntry) {
  const auto model = Build(Llama().Tensor("x.weight", {32}, kQ8_0, 0), 34);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->shape.kv_heads, 4);
}

TEST(GgufModel, LayersThatDifferLeaveTheShapeEmpty) {
  const std::string heads = GgufWriter::Number<std::int32_t>(2) + GgufWriter::Number<std::int32_t>(0);
  const auto model =
      Build(Llama().Array("llama.attention.head_count_kv", GgufType::kI32, 2, heads).Tensor("x", {32}, kQ8_0, 0), 34);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->shape.layers, 0);
  EXPECT_EQ(CacheBytesPerPosition(*model), Bytes(0));
}

TEST(GgufModel, RefusesALlamaWithoutItsNumbers) {
  const auto no_layers = Build(GgufWriter().String("general.architecture", "llama").Tensor("x", {1}, kF32, 0), 4);
  ASSERT_FALSE(no_layers);
  EXPECT_EQ(no_layers.error().message, "f.gguf: has no llama.block_count, a number");
  const auto huge = Build(Llama().U32("llama.attention.head_count_kv", ~0U).Tensor("x", {1}, kF32, 0), 4);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().message, "f.gguf: llama.attention.head_count_kv is 4294967295, not in [1, 1048576]");
  const auto empty = Build(Llama(), 0);
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().message, "f.gguf: holds no tensors: a vocabulary, not a model");
}

}  // namespace
}  // namespace stowage
