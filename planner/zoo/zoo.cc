#include "planner/zoo/zoo.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <cstdint>
#include <optional>
#include <utility>

#include "planner/base/check.h"
#include "planner/base/nearest.h"
#include "planner/base/text.h"
#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/families/llama.h"
#include "planner/zoo/zoo_rows.h"

namespace stowage {
namespace {

struct LlamaRow {
  const char* name;
  const char* hub_id;
  const char* alias;  // "" for none
  std::int64_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, max_positions;
  double rope_theta;
  double rope_factor;  // of llama3 scaling from 8192 positions, bands 1 and 4; 0: none
  DType dtype;
  bool tied;
};

// Source: config.json of each hub_id.
constexpr std::array<LlamaRow, 10> kLlamas = {{
    {"llama-2-7b", "meta-llama/Llama-2-7b-hf", "llama-7b",  //
     32, 4096, 11008, 32, 32, 128, 32000, 4096, 1e4, 0, DType::kF16, false},
    {"llama-2-13b", "meta-llama/Llama-2-13b-hf", "llama-13b",  //
     40, 5120, 13824, 40, 40, 128, 32000, 4096, 1e4, 0, DType::kF16, false},
    {"llama-2-70b", "meta-llama/Llama-2-70b-hf", "",  //
     80, 8192, 28672, 64, 8, 128, 32000, 4096, 1e4, 0, DType::kF16, false},
    {"llama-3-8b", "meta-llama/Meta-Llama-3-8B", "",  //
     32, 4096, 14336, 32, 8, 128, 128256, 8192, 5e5, 0, DType::kBF16, false},
    {"llama-3-70b", "meta-llama/Meta-Llama-3-70B", "",  //
     80, 8192, 28672, 64, 8, 128, 128256, 8192, 5e5, 0, DType::kBF16, false},
    {"llama-3.1-8b", "meta-llama/Llama-3.1-8B", "llama-8b",  //
     32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5, 8, DType::kBF16, false},
    {"llama-3.1-70b", "meta-llama/Llama-3.1-70B", "llama-70b",  //
     80, 8192, 28672, 64, 8, 128, 128256, 131072, 5e5, 8, DType::kBF16, false},
    {"llama-3.1-405b", "meta-llama/Llama-3.1-405B", "llama-405b",  //
     126, 16384, 53248, 128, 8, 128, 128256, 131072, 5e5, 8, DType::kBF16, false},
    {"llama-3.2-1b", "meta-llama/Llama-3.2-1B", "llama-1b",  //
     16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5, 32, DType::kBF16, true},
    {"llama-3.2-3b", "meta-llama/Llama-3.2-3B", "llama-3b",  //
     28, 3072, 8192, 24, 8, 128, 128256, 131072, 5e5, 32, DType::kBF16, true},
}};

LlamaConfig ConfigOf(const LlamaRow& row) {
  LlamaConfig c;
  c.shape.layers = row.layers;
  c.shape.hidden = row.hidden;
  c.shape.intermediate = row.intermediate;
  c.shape.heads = row.heads;
  c.shape.kv_heads = row.kv_heads;
  c.shape.head_dim = row.head_dim;
  c.shape.vocab = row.vocab;
  c.shape.max_positions = row.max_positions;
  c.shape.rope_theta = row.rope_theta;
  if (row.rope_factor > 0) c.rope = {"llama3", row.rope_factor, 1, 4, 8192};
  c.dtype = row.dtype;
  c.tie_word_embeddings = row.tied;
  return c;
}

// "meta-llama/Llama-3.1-8B-Instruct" -> "llama3.18b", without dots "llama318b". No two names of the table become the
// same with dots (see the test); without, opt-1.3b and opt-13b would. Tuned models have the sizes of their base model:
// "Mistral-7B-Instruct-v0.3" is "Mistral-7B-v0.3".
std::string Canonical(std::string_view name, bool dots) {
  std::vector<std::string> words(1);
  for (const char c : name.substr(name.rfind('/') + 1)) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (c != '.') {
      words.emplace_back();
    } else if (dots) {
      words.back() += c;
    }
  }
  std::erase_if(words, [](const std::string& w) { return w.empty() || w == "instruct" || w == "chat"; });
  const auto is_ending = [](const std::string& w) { return w == "hf" || w == "it" || w == "base"; };
  while (!words.empty() && is_ending(words.back())) words.pop_back();
  std::string out = Join(words, "");
  if (out.starts_with("meta")) out.erase(0, 4);
  return out;
}

// A row of either table; `facts` is null for a llama.
struct Known {
  const char* name;
  const char* hub_id;
  const char* alias;
  const LlamaRow* llama;
  const char* facts;
};

std::vector<Known> AllRows() {
  std::vector<Known> out;
  for (const LlamaRow& row : kLlamas) out.push_back({row.name, row.hub_id, row.alias, &row, nullptr});
  for (const auto rows : {DecoderRows(), OtherRows()}) {
    for (const ZooRow& row : rows) out.push_back({row.name, row.hub_id, row.alias, nullptr, row.facts});
  }
  return out;
}

std::optional<Known> Find(std::string_view name) {
  for (const bool dots : {true, false}) {
    const std::string wanted = Canonical(name, dots);
    if (wanted.empty()) return std::nullopt;
    for (const Known& row : AllRows()) {
      for (const char* known : {row.name, row.alias, row.hub_id}) {
        if (wanted == Canonical(known, dots)) return row;
      }
    }
  }
  return std::nullopt;
}

// "; did you mean 'llama-8b'?", or all names when none is near.
std::string Suggestion(std::string_view name) {
  std::vector<std::string_view> known;
  std::vector<std::string> names;
  for (const Known& row : AllRows()) {
    known.push_back(row.name);
    names.push_back(row.name);
    if (*row.alias != '\0') known.push_back(row.alias);
  }
  const std::string_view nearest = Nearest(name, known);
  return nearest.empty() ? fmt::format(" (known: {})", Join(names, ", "))
                         : fmt::format("; did you mean '{}'?", nearest);
}

Result<Model> Built(const Known& row) {
  if (row.llama == nullptr) {
    STOWAGE_TRY(const HfConfig config, HfConfig::Parse(row.facts, row.name));
    STOWAGE_TRY(Model model, BuildModel(config, row.name));
    if (model.forward.own_head_in_files) UntieHead(model);
    return model;
  }
  const LlamaConfig config = ConfigOf(*row.llama);
  STOWAGE_CHECK(CheckLlamaConfig(config, row.name).ok());
  return BuildLlama(config, row.name);
}

}  // namespace

std::vector<ZooEntry> ZooEntries() {
  std::vector<ZooEntry> out;
  for (const Known& row : AllRows()) {
    ZooEntry entry{row.name, row.hub_id, {}};
    if (*row.alias != '\0') entry.aliases.push_back(row.alias);
    out.push_back(std::move(entry));
  }
  return out;
}

bool IsInZoo(std::string_view name) { return Find(name).has_value(); }

std::string ZooName(std::string_view name) {
  const std::optional<Known> row = Find(name);
  return row ? row->name : "";
}

Result<Model> ZooModel(std::string_view name) {
  const std::optional<Known> row = Find(name);
  if (!row) {
    return Error{ErrorCode::kInvalidInput, fmt::format("unknown model '{}'{}", name, Suggestion(name))};
  }
  Result<Model> model = Built(*row);
  if (model) model->origin = fmt::format("the zoo's facts of {}", row->hub_id);
  return model;
}

}  // namespace stowage
