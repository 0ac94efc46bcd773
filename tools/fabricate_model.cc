#include "tools/fabricate_model.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "exec/weights/writer/safetensors_writer.h"
#include "kernels/float16.h"
#include "planner/families/llama.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

constexpr double kMatrixStd = 0.02;

Error Bad(std::string text) { return {ErrorCode::kInvalidInput, std::move(text)}; }

// Steele, Lea, Flood: SplitMix64's finalizer, a good hash of a counter.
std::uint64_t Mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

std::uint64_t StreamOf(std::uint64_t seed, std::string_view name) {
  std::uint64_t h = Mix(seed);
  for (const char c : name) h = Mix(h ^ static_cast<unsigned char>(c));
  return h;
}

// The sum of four 16-bit uniforms, centred: variance 4 (2^32 - 1) / 12, close enough to normal for weights.
float MatrixWeight(std::uint64_t stream, std::int64_t index) {
  const std::uint64_t r = Mix(stream + static_cast<std::uint64_t>(index));
  const std::int64_t sum =
      static_cast<std::int64_t>((r & 0xFFFF) + (r >> 16 & 0xFFFF) + (r >> 32 & 0xFFFF) + (r >> 48));
  static const double kScale = kMatrixStd / std::sqrt((4294967296.0 - 1) / 3);
  return static_cast<float>(static_cast<double>(sum - 2 * 65535) * kScale);
}

enum class Content { kMatrix, kOnes, kZeros };

Content ContentOf(std::string_view name) {
  if (name.ends_with(".bias")) return Content::kZeros;
  return name.ends_with("norm.weight") ? Content::kOnes : Content::kMatrix;
}

template <class T, class Convert>
void FillAs(std::uint64_t stream, Content content, std::int64_t first, std::span<std::byte> to, Convert convert) {
  for (std::size_t i = 0; i * sizeof(T) < to.size(); ++i) {
    const float x = content == Content::kOnes    ? 1.0F
                    : content == Content::kZeros ? 0.0F
                                                 : MatrixWeight(stream, first + static_cast<std::int64_t>(i));
    const T value = convert(x);
    std::memcpy(to.data() + i * sizeof(T), &value, sizeof value);
  }
}

void Fill(DType dtype, std::uint64_t stream, Content content, std::int64_t offset, std::span<std::byte> to) {
  const std::int64_t first = offset * 8 / Bits(dtype);
  if (dtype == DType::kF32) return FillAs<float>(stream, content, first, to, [](float x) { return x; });
  if (dtype == DType::kF16) return FillAs<kernels::Half>(stream, content, first, to, kernels::HostToHalf);
  FillAs<kernels::BFloat16>(stream, content, first, to, kernels::HostToBFloat16);
}

Status CreateFolder(const std::string& folder) {
  for (std::size_t at = 1; at <= folder.size(); ++at) {
    if (at < folder.size() && folder[at] != '/') continue;
    if (::mkdir(folder.substr(0, at).c_str(), 0777) != 0 && errno != EEXIST) {
      return Error{ErrorCode::kIo, fmt::format("{}: cannot create the folder: {}", folder, std::strerror(errno))};
    }
  }
  return OkStatus();
}

// The width of the base's heads, halved until `hidden` is a whole number of groups of such heads; narrower than
// kLeastWidth only to make it a whole number of heads at all. 0 if no even width does.
std::int64_t WidthOfHeads(std::int64_t hidden, std::int64_t base, std::int64_t group) {
  constexpr std::int64_t kLeastWidth = 16;
  for (std::int64_t width = base; width >= kLeastWidth && width % 2 == 0; width /= 2) {
    if (hidden % (width * group) == 0) return width;
  }
  for (std::int64_t width = base; width >= 2 && width % 2 == 0; width /= 2) {
    if (hidden % width == 0) return width;
  }
  return 0;
}

// Heads for another hidden size: their width and grouping stay if that is possible.
Status ShrinkHeads(const TransformerShape& base, const FabricateOptions& o, TransformerShape& s) {
  const std::int64_t group = base.heads / base.kv_heads;
  if (o.heads) {
    s.heads = *o.heads;
    if (s.heads < 1 || s.hidden % s.heads != 0) {
      return Bad(fmt::format("--heads {} does not divide the hidden size {}", s.heads, s.hidden));
    }
    s.head_dim = s.hidden / s.heads;
  } else if (o.hidden) {
    s.head_dim = WidthOfHeads(s.hidden, base.head_dim, group);
    if (s.head_dim == 0) {
      return Bad(fmt::format("--hidden {} cannot be cut into heads of an even width; give --heads", s.hidden));
    }
    s.heads = s.hidden / s.head_dim;
  }
  std::int64_t shared_by = group;
  while (s.heads % shared_by != 0) --shared_by;
  s.kv_heads = o.kv_heads.value_or(s.heads / shared_by);
  if (s.kv_heads < 1 || s.heads % s.kv_heads != 0) {
    return Bad(fmt::format("--kv-heads {} does not divide the {} heads", s.kv_heads, s.heads));
  }
  if (s.head_dim % 2 != 0) {
    return Bad(fmt::format("{} heads of hidden size {} are {} wide; rotary embedding needs an even width", s.heads,
                           s.hidden, s.head_dim));
  }
  return OkStatus();
}

}  // namespace

Result<Model> ShrinkModel(const Model& base, const FabricateOptions& o) {
  if (base.family != "llama") return Bad(fmt::format("cannot fabricate the family '{}', only llama", base.family));
  LlamaConfig c;
  c.shape = base.shape;
  c.rope = base.rope;
  c.attention_bias = base.attention_bias;
  c.mlp_bias = base.mlp_bias;
  c.head = base.class_name == "LlamaForCausalLM";
  c.dtype = o.dtype.value_or(base.tensors[0].dtype);
  c.tie_word_embeddings = o.tied.value_or(!base.tied_groups.empty());
  if (c.dtype != DType::kF32 && c.dtype != DType::kF16 && c.dtype != DType::kBF16) {
    return Bad(fmt::format("--dtype {} cannot be fabricated, only fp32, fp16, bf16", Name(c.dtype)));
  }
  TransformerShape& s = c.shape;
  s.layers = o.layers.value_or(s.layers);
  s.vocab = o.vocab.value_or(s.vocab);
  s.hidden = o.hidden.value_or(s.hidden);
  STOWAGE_RETURN_IF_ERROR(ShrinkHeads(base.shape, o, s));
  // A multiple of 8 keeps rows aligned to 16 bytes.
  const std::int64_t scaled = base.shape.intermediate * s.hidden / base.shape.hidden;
  s.intermediate = o.intermediate.value_or(o.hidden ? std::max<std::int64_t>(8, scaled / 8 * 8) : s.intermediate);
  STOWAGE_RETURN_IF_ERROR(CheckLlamaConfig(c, base.name));
  return BuildLlama(c, base.name);
}

std::string DescribeShape(const Model& model) {
  const TransformerShape& s = model.shape;
  return fmt::format(
      "{} layers, hidden {}, {} heads of {} ({} for keys and values), intermediate {}, vocabulary {}, {}, {}", s.layers,
      s.hidden, s.heads, s.head_dim, s.kv_heads, s.intermediate, s.vocab, Name(model.tensors[0].dtype),
      model.tied_groups.empty() ? "untied" : "tied");
}

std::string ConfigJson(const Model& model) {
  const TransformerShape& s = model.shape;
  nlohmann::ordered_json j;
  j["architectures"] = {model.class_name};
  j["attention_bias"] = model.attention_bias;
  j["head_dim"] = s.head_dim;
  j["hidden_act"] = "silu";
  j["hidden_size"] = s.hidden;
  j["intermediate_size"] = s.intermediate;
  j["max_position_embeddings"] = s.max_positions;
  j["mlp_bias"] = model.mlp_bias;
  j["model_type"] = model.family;
  j["num_attention_heads"] = s.heads;
  j["num_hidden_layers"] = s.layers;
  j["num_key_value_heads"] = s.kv_heads;
  j["rms_norm_eps"] = s.norm_eps;
  j["rope_scaling"] = nullptr;
  if (model.rope.type != "default") j["rope_scaling"] = {{"factor", model.rope.factor}, {"rope_type", model.rope.type}};
  if (model.rope.type == "llama3") {
    j["rope_scaling"]["low_freq_factor"] = model.rope.low_freq_factor;
    j["rope_scaling"]["high_freq_factor"] = model.rope.high_freq_factor;
    j["rope_scaling"]["original_max_position_embeddings"] = model.rope.original_max_positions;
  }
  j["rope_theta"] = s.rope_theta;
  j["tie_word_embeddings"] = !model.tied_groups.empty();
  j["torch_dtype"] = std::string(TorchName(model.tensors[0].dtype));
  j["vocab_size"] = s.vocab;
  return j.dump(2) + "\n";
}

float RandomWeight(std::uint64_t seed, const std::string& name, std::int64_t index) {
  const Content content = ContentOf(name);
  if (content == Content::kOnes) return 1;
  if (content == Content::kZeros) return 0;
  return MatrixWeight(StreamOf(seed, name), index);
}

Result<std::vector<std::string>> WriteModelFolder(const Model& model, const std::string& folder,
                                                  const FabricateOptions& options) {
  STOWAGE_RETURN_IF_ERROR(CreateFolder(folder));
  if (IsFile(JoinPath(folder, "config.json")) || FindCheckpoint(folder)) {
    return Bad(fmt::format("{}: already holds a model; choose another folder", folder));
  }
  std::vector<TensorToWrite> tensors;
  for (const Tensor& t : model.tensors) {
    if (!t.persistent || t.tied_to != kNoId) continue;
    const DType dtype = t.dtype;
    const std::uint64_t stream = StreamOf(options.seed, t.name);
    const Content content = ContentOf(t.name);
    tensors.push_back({t.name, dtype, t.shape, [=](std::int64_t offset, std::span<std::byte> to) {
                         Fill(dtype, stream, content, offset, to);
                       }});
  }
  STOWAGE_TRY(std::vector<std::string> files, WriteCheckpoint(folder, tensors, options.max_shard_bytes));
  STOWAGE_RETURN_IF_ERROR(WriteTextFile(JoinPath(folder, "config.json"), ConfigJson(model)));
  files.insert(files.begin(), "config.json");
  return files;
}

}  // namespace stowage
