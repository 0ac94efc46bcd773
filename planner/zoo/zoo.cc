#include "planner/zoo/zoo.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <utility>

#include "planner/base/check.h"
#include "planner/base/nearest.h"
#include "planner/base/text.h"
#include "planner/families/llama.h"

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
  c.shape = {row.layers,   row.hidden, row.intermediate,  row.heads, row.kv_heads,
             row.head_dim, row.vocab,  row.max_positions, 1e-5,      row.rope_theta};
  if (row.rope_factor > 0) c.rope = {"llama3", row.rope_factor, 1, 4, 8192};
  c.dtype = row.dtype;
  c.tie_word_embeddings = row.tied;
  return c;
}

// "meta-llama/Llama-3.1-8B-Instruct" -> "llama318b". No two names of the table become the same (see the test).
std::string Canonical(std::string_view name) {
  std::string out;
  for (const char c : name.substr(name.rfind('/') + 1)) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (out.starts_with("meta")) out.erase(0, 4);
  for (const std::string_view ending : {"hf", "instruct", "chat", "base"}) {
    if (out.ends_with(ending)) out.erase(out.size() - ending.size());
  }
  return out;
}

const LlamaRow* Find(std::string_view name) {
  const std::string wanted = Canonical(name);
  if (wanted.empty()) return nullptr;
  const auto it = std::find_if(kLlamas.begin(), kLlamas.end(), [&](const LlamaRow& row) {
    return wanted == Canonical(row.name) || wanted == Canonical(row.alias);
  });
  return it == kLlamas.end() ? nullptr : &*it;
}

// "; did you mean 'llama-8b'?", or nothing when no name is near.
std::string Suggestion(std::string_view name) {
  std::vector<std::string_view> known;
  for (const LlamaRow& row : kLlamas) {
    known.push_back(row.name);
    if (*row.alias != '\0') known.push_back(row.alias);
  }
  const std::string_view nearest = Nearest(name, known);
  return nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest);
}

}  // namespace

std::vector<ZooEntry> ZooEntries() {
  std::vector<ZooEntry> out;
  for (const LlamaRow& row : kLlamas) {
    ZooEntry entry{row.name, row.hub_id, {}};
    if (*row.alias != '\0') entry.aliases.push_back(row.alias);
    out.push_back(std::move(entry));
  }
  return out;
}

bool IsInZoo(std::string_view name) { return Find(name) != nullptr; }

Result<Model> ZooModel(std::string_view name) {
  const LlamaRow* row = Find(name);
  if (row == nullptr) {
    std::vector<std::string> names;
    for (const LlamaRow& r : kLlamas) names.push_back(r.name);
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("unknown model '{}'{} (known: {})", name, Suggestion(name), Join(names, ", "))};
  }
  const LlamaConfig config = ConfigOf(*row);
  STOWAGE_CHECK(CheckLlamaConfig(config, row->name).ok());
  return BuildLlama(config, row->name);
}

}  // namespace stowage
