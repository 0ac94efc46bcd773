#include "planner/families/attach.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::size_t kShownDifferences = 5;

// Buffers that old versions of transformers stored and new ones compute.
bool IsToleratedLeftover(std::string_view name) {
  constexpr std::array kBuffers = {".inv_freq",       ".attn.bias",   ".attn.masked_bias",
                                   ".attention.bias", ".masked_bias", "embeddings.position_ids"};
  return std::any_of(kBuffers.begin(), kBuffers.end(), [&](const char* ending) { return name.ends_with(ending); });
}

// transformers' base_model_prefix: "transformer" of GPT2LMHeadModel, and the one that GPT2Model would lie under.
std::string BasePrefix(const Model& model) {
  constexpr std::array<std::pair<const char*, const char*>, 11> kPrefixes = {{{"bert", "bert"},
                                                                              {"bloom", "transformer"},
                                                                              {"clip_text_model", "text_model"},
                                                                              {"falcon", "transformer"},
                                                                              {"gpt2", "transformer"},
                                                                              {"gpt_neox", "gpt_neox"},
                                                                              {"gptj", "transformer"},
                                                                              {"mt5", ""},
                                                                              {"t5", ""},
                                                                              {"umt5", ""},
                                                                              {"vit", "vit"}}};
  for (const auto& [family, prefix] : kPrefixes) {
    if (model.family == family) return prefix;
  }
  return "model";
}

// What files call a tensor that has another name in memory: TensorFlow's names of a LayerNorm's weight and bias, as in the
// first files of BERT; the head of GPT-NeoX, which transformers 5 renames on loading. "" for other tensors.
std::string StoredName(const std::string& family, std::string_view name) {
  if (family == "gpt_neox") return name == "lm_head.weight" ? "embed_out.weight" : "";
  for (const auto& [now, then] : {std::pair("LayerNorm.weight", "gamma"), std::pair("LayerNorm.bias", "beta")}) {
    if (name.ends_with(now)) return std::string(name.substr(0, name.rfind('.') + 1)) + then;
  }
  return "";
}

// A checkpoint of the base class has the names of the class with a head less its prefix, and the other way round.
class StoredNames {
 public:
  StoredNames(const Model& model, std::span<const std::string_view> names)
      : family_(model.family), prefix_(BasePrefix(model)) {
    if (!prefix_.empty()) prefix_ += '.';
    by_name_.reserve(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) by_name_.emplace(names[i], i);
  }

  std::optional<std::size_t> Find(const std::string& name) const {
    if (const auto found = FindPrefixed(name)) return found;
    const std::string then = StoredName(family_, name);
    return then.empty() ? std::nullopt : FindPrefixed(then);
  }

  // What lies outside the base prefix in a file of a class with a head, while `model` has none.
  bool IsHeadOf(const Model& model, std::string_view name) const {
    if (prefix_.empty() || name.starts_with(prefix_)) return false;
    const std::vector<ModuleId>& top = model.modules[0].children;
    return std::none_of(top.begin(), top.end(), [&](ModuleId m) {
      return name.starts_with(model.modules[m].name + ".") || model.modules[m].name + "." == prefix_;
    });
  }

 private:
  std::optional<std::size_t> FindPrefixed(const std::string& name) const {
    auto it = by_name_.find(name);
    if (it == by_name_.end() && !prefix_.empty()) {
      it = name.starts_with(prefix_) ? by_name_.find(std::string_view(name).substr(prefix_.size()))
                                     : by_name_.find(prefix_ + name);
    }
    if (it == by_name_.end()) return std::nullopt;
    return it->second;
  }

  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::string family_;
  std::string prefix_;
};

// The first few, and how many more there are.
std::string Listed(std::vector<std::string> items) {
  const std::size_t count = items.size();
  if (count > kShownDifferences) items.resize(kShownDifferences);
  std::string text = Join(items, "; ");
  if (count > kShownDifferences) text += fmt::format("; and {} more", count - kShownDifferences);
  return text;
}

Error Differ(std::vector<std::string> differences, const std::string& where) {
  const std::size_t count = differences.size();
  return {ErrorCode::kInvalidInput,
          fmt::format("{}: {} tensor{} differ{} from what config.json describes: {}", where, count,
                      count == 1 ? "" : "s", count == 1 ? "s" : "", Listed(std::move(differences)))};
}

// "16 tensors": a plural where it is one.
std::string Tensors(std::size_t count) { return fmt::format("{} tensor{}", count, count == 1 ? "" : "s"); }

// One stored tensor serves its whole tied group.
void ShareTies(Model& model) {
  for (const std::vector<TensorId>& group : model.tied_groups) {
    Tensor& owner = model.tensors[group[0]];
    for (const TensorId id : group) {
      if (!owner.source && model.tensors[id].source) {
        owner.source = model.tensors[id].source;
        owner.dtype = owner.source->dtype;
      }
    }
    for (const TensorId id : group) {
      model.tensors[id].source = owner.source;
      model.tensors[id].dtype = owner.dtype;
    }
  }
}

// Before anything is joined: an owner's bytes are not those of its copies any more.
void UntieStoredHead(Model& model, const StoredNames& stored) {
  if (!model.forward.own_head_in_files) return;
  const Tensor& head = model.tensors.back();
  const auto owner = static_cast<std::size_t>(head.tied_to);
  if (head.tied_to != kNoId && stored.Find(head.name) && stored.Find(model.tensors[owner].name)) UntieHead(model);
}

// What joining finds on its way, beside the errors.
struct Findings {
  std::vector<std::string> differences;
  std::vector<bool> used;                                                   // per stored tensor
  std::map<std::pair<DType, DType>, std::vector<std::string_view>> dtypes;  // {config's, stored}: names
};

// What `t` differs in from `c`; "" where c can be its bytes.
std::string Difference(const Tensor& t, const CheckpointTensor& c, const Checkpoint& checkpoint) {
  if (c.shape != t.shape) {
    return fmt::format("'{}' is {} in {}, {} by the config", t.name, FormatShape(c.shape),
                       checkpoint.files[c.source.file], FormatShape(t.shape));
  }
  if (!t.buffer && !IsFloating(t.dtype) && c.source.dtype != t.dtype) {
    return fmt::format("'{}' is stored as {}, {} by the config", t.name, Name(c.source.dtype), Name(t.dtype));
  }
  if (!t.buffer && IsFloating(t.dtype) && !IsFloating(c.source.dtype)) {
    return fmt::format("'{}' is stored as {}, not a floating-point type", t.name, Name(c.source.dtype));
  }
  return "";
}

void AttachTensors(Model& model, const Checkpoint& checkpoint, const StoredNames& stored, Findings& findings) {
  for (Tensor& t : model.tensors) {
    const std::optional<std::size_t> found = stored.Find(t.name);
    if (!found) continue;
    const CheckpointTensor& c = checkpoint.tensors[*found];
    findings.used[*found] = true;
    if (std::string difference = Difference(t, c, checkpoint); !difference.empty()) {
      findings.differences.push_back(std::move(difference));
    } else if (t.persistent) {
      if (!t.buffer && c.source.dtype != t.dtype) findings.dtypes[{t.dtype, c.source.dtype}].push_back(t.name);
      t.source = c.source;
      t.dtype = c.source.dtype;
    }
  }
}

// Of what no class loads, files resaved by transformers hold nothing.
void AttachUnloaded(Model& model, const Checkpoint& checkpoint, const StoredNames& stored, Findings& findings) {
  std::erase_if(model.unloaded, [&](Tensor& t) {
    const std::optional<std::size_t> found = stored.Find(t.name);
    if (!found || checkpoint.tensors[*found].shape != t.shape) return true;  // another shape: a stranger, noted below
    findings.used[*found] = true;
    t.source = checkpoint.tensors[*found].source;
    t.dtype = t.source->dtype;
    return false;
  });
}

void FindMissing(const Model& model, const StoredNames& stored, std::vector<std::string>& differences) {
  for (const Tensor& t : model.tensors) {
    if (!t.persistent || t.tied_to != kNoId || t.source || stored.Find(t.name)) continue;
    differences.push_back(fmt::format("'{}' {} is missing", t.name, FormatShape(t.shape)));
  }
}

void NoteStrangers(Model& model, std::vector<std::string> strangers) {
  if (strangers.empty()) return;
  const std::size_t count = strangers.size();
  model.notes.push_back(fmt::format("{} of the files {} in no part of {} and {} not loaded: {}.", Tensors(count),
                                    count == 1 ? "is" : "are", model.class_name, count == 1 ? "is" : "are",
                                    Listed(std::move(strangers))));
}

void NoteDTypes(Model& model, const Findings& findings) {
  for (const auto& [pair, names] : findings.dtypes) {
    model.notes.push_back(fmt::format("{} stored as {}, {} by config.json; the files count: '{}'{}.",
                                      Tensors(names.size()), Name(pair.second), Name(pair.first), names[0],
                                      names.size() > 1 ? ", ..." : ""));
  }
}

}  // namespace

Status AttachCheckpoint(Model& model, const Checkpoint& checkpoint, const std::string& where) {
  std::vector<std::string_view> names;
  names.reserve(checkpoint.tensors.size());
  for (const CheckpointTensor& t : checkpoint.tensors) names.push_back(t.name);
  const StoredNames stored(model, names);
  UntieStoredHead(model, stored);
  Findings findings;
  findings.used.resize(names.size());
  AttachTensors(model, checkpoint, stored, findings);
  ShareTies(model);
  AttachUnloaded(model, checkpoint, stored, findings);
  FindMissing(model, stored, findings.differences);
  std::vector<std::string> strangers;
  std::vector<Tensor> unloaded;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const CheckpointTensor& c = checkpoint.tensors[i];
    if (findings.used[i] || IsToleratedLeftover(c.name) || stored.IsHeadOf(model, c.name)) continue;
    strangers.push_back(fmt::format("'{}' {}", c.name, FormatShape(c.shape)));
    unloaded.push_back({.name = c.name, .shape = c.shape, .dtype = c.source.dtype, .source = c.source});
  }
  if (!findings.differences.empty()) {
    for (std::string& stranger : strangers) findings.differences.push_back(stranger + " is unexpected");
    return Differ(std::move(findings.differences), where);
  }
  NoteDTypes(model, findings);
  NoteStrangers(model, std::move(strangers));
  std::move(unloaded.begin(), unloaded.end(), std::back_inserter(model.unloaded));
  model.files = checkpoint.files;
  return OkStatus();
}

Status CheckNames(Model& model, const CheckpointIndex& index, const std::string& where) {
  std::vector<std::string_view> names;
  names.reserve(index.entries.size());
  for (const CheckpointIndex::Entry& e : index.entries) names.push_back(e.tensor);
  const StoredNames stored(model, names);
  UntieStoredHead(model, stored);
  std::vector<bool> used(names.size());
  const auto use = [&](const Tensor& t) {
    const std::optional<std::size_t> found = stored.Find(t.name);
    if (found) used[*found] = true;
    return found.has_value();
  };
  for (const Tensor& t : model.tensors) use(t);
  std::erase_if(model.unloaded, [&](const Tensor& t) { return !use(t); });
  const auto is_there = [&](TensorId id) { return stored.Find(model.tensors[id].name).has_value(); };
  std::vector<std::string> differences;
  for (const Tensor& t : model.tensors) {
    if (!t.persistent || t.tied_to != kNoId || stored.Find(t.name)) continue;
    const auto id = static_cast<TensorId>(&t - model.tensors.data());
    const auto group = std::find_if(model.tied_groups.begin(), model.tied_groups.end(),
                                    [&](const std::vector<TensorId>& ids) { return ids[0] == id; });
    if (group != model.tied_groups.end() && std::any_of(group->begin(), group->end(), is_there)) continue;
    differences.push_back(fmt::format("'{}' {} is missing", t.name, FormatShape(t.shape)));
  }
  if (!differences.empty()) return Differ(std::move(differences), where);
  std::vector<std::string> strangers;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (used[i] || IsToleratedLeftover(names[i]) || stored.IsHeadOf(model, names[i])) continue;
    strangers.push_back(fmt::format("'{}'", names[i]));
  }
  NoteStrangers(model, std::move(strangers));
  return OkStatus();
}

void UntieHead(Model& model) {
  Tensor& head = model.tensors.back();
  for (std::vector<TensorId>& group : model.tied_groups) {
    std::erase(group, static_cast<TensorId>(model.tensors.size()) - 1);
  }
  head.tied_to = kNoId;
  model.notes.push_back(fmt::format(
      "{} is not tied: tie_word_embeddings is false and the files hold it. ({} ties it when it is built from "
      "the config alone.)",
      head.name, model.class_name));
}

}  // namespace stowage
