#include "planner/formats/module_tree_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "planner/formats/file.h"
#include "planner/formats/json_scanner.h"

namespace stowage {
namespace {

constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 30;
constexpr std::size_t kMaxPath = 1000;  // names are repeated in every module below: this bounds the memory
constexpr std::size_t kFreeNameBytes = 16 << 20;
constexpr std::size_t kMaxParts = std::size_t{1} << 22;
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 62;

// The file as it is written, before anything is checked beyond its form.
struct RawTensor {
  std::string name;
  std::string dtype = "float32";
  std::string id;  // "" for none; strings and integers cannot meet: "s:7", "i:7"
  Shape shape;
  bool persistent = true;
};

struct RawNode {
  std::string class_name = "Module";
  std::vector<RawTensor> params;
  std::vector<RawTensor> buffers;
  std::vector<std::pair<std::string, std::size_t>> children;  // name, index into RawFile::nodes
  std::optional<std::string> same_as;
};

struct RawFile {
  std::vector<RawNode> nodes;
  std::optional<std::size_t> root;
  std::vector<std::vector<std::string>> tied_groups;
  std::vector<std::string> no_split;
};

std::vector<std::string> ReadStrings(JsonScanner& in) {
  std::vector<std::string> out;
  in.BeginArray();
  while (in.NextItem()) out.emplace_back(in.String());
  return out;
}

RawTensor ReadTensor(JsonScanner& in) {
  RawTensor t;
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    if (key == "name") {
      t.name = in.String();
    } else if (key == "dtype") {
      t.dtype = in.String();
    } else if (key == "persistent") {
      t.persistent = in.Boolean();
    } else if (key == "id") {
      t.id = in.NextIsString() ? "s:" + std::string(in.String()) : fmt::format("i:{}", in.Integer());
    } else if (key == "shape") {
      t.shape.clear();
      in.BeginArray();
      while (in.NextItem()) t.shape.push_back(in.Integer());
    } else {
      in.Skip();
    }
  }
  return t;
}

std::vector<RawTensor> ReadTensors(JsonScanner& in) {
  std::vector<RawTensor> out;
  in.BeginArray();
  while (in.NextItem()) out.push_back(ReadTensor(in));
  return out;
}

// Depth is bounded by the scanner's own limit.
std::size_t ReadNode(JsonScanner& in, RawFile& file) {
  const std::size_t index = file.nodes.size();
  file.nodes.emplace_back();
  RawNode node;
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    if (key == "class") {
      node.class_name = in.String();
    } else if (key == "params") {
      node.params = ReadTensors(in);
    } else if (key == "buffers") {
      node.buffers = ReadTensors(in);
    } else if (key == "same_module_object_as") {
      node.same_as = in.String();
    } else if (key == "children") {
      in.BeginArray();
      while (in.NextItem()) {
        in.BeginArray();
        std::string name;
        if (in.NextItem()) name = in.String();
        if (!in.NextItem()) in.Fail("expected [name, module]");
        const std::size_t child = ReadNode(in, file);
        if (in.NextItem()) in.Fail("expected [name, module]");
        if (!in.ok()) return index;
        node.children.emplace_back(std::move(name), child);
      }
    } else {
      in.Skip();
    }
    if (!in.ok()) return index;
  }
  file.nodes[index] = std::move(node);
  return index;
}

RawFile ReadFile(JsonScanner& in) {
  RawFile file;
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    if (key == "root" && file.root) {
      in.Fail("a second root");
    } else if (key == "root") {
      file.root = ReadNode(in, file);
    } else if (key == "no_split_modules") {
      file.no_split = ReadStrings(in);
    } else if (key == "tied_groups") {
      in.BeginArray();
      while (in.NextItem()) file.tied_groups.push_back(ReadStrings(in));
    } else {
      in.Skip();
    }
  }
  in.End();
  return file;
}

// Makes the model of a RawFile; every Status names the module or tensor.
class Assembler {
 public:
  Assembler(const RawFile& file, std::size_t file_bytes, const std::string& where)
      : file_(file), where_(where), max_name_bytes_(4 * file_bytes + kFreeNameBytes) {}

  Result<Model> Assemble() {
    STOWAGE_RETURN_IF_ERROR(AddModule(file_.nodes[*file_.root], "", kNoId));
    STOWAGE_RETURN_IF_ERROR(TieGroups());
    ResolveTies();
    if (std::all_of(model_.tensors.begin(), model_.tensors.end(), [](const Tensor& t) { return t.buffer; })) {
      return Bad("has no parameters");
    }
    model_.class_name = model_.modules[0].class_name;
    model_.no_split_classes = file_.no_split;
    return std::move(model_);
  }

 private:
  Error Bad(std::string text) const { return {ErrorCode::kInvalidInput, where_ + ": " + std::move(text)}; }

  static std::string Join(const std::string& path, const std::string& name) {
    return path.empty() ? name : path + "." + name;
  }

  Status CheckName(const std::string& path, const std::string& name) const {
    if (name.empty()) return Bad(fmt::format("module '{}' has a part without a name", path));
    if (name.find('.') != std::string::npos) return Bad(fmt::format("module '{}': name '{}' has a dot", path, name));
    if (path.size() + name.size() >= kMaxPath) {
      return Bad(fmt::format("module '{}...': a name below it is longer than {} bytes", path.substr(0, 60), kMaxPath));
    }
    return OkStatus();
  }

  Status CountName(const std::string& name) {
    name_bytes_ += name.size();
    if (name_bytes_ <= max_name_bytes_) return OkStatus();
    return Bad(fmt::format("'{}...': the names up to here are far larger than the file", name.substr(0, 60)));
  }

  Result<ModuleId> NewModule(const std::string& path, const std::string& class_name, ModuleId parent) {
    if (model_.modules.size() == kMaxParts) return Bad(fmt::format("has more than {} modules", kMaxParts));
    STOWAGE_RETURN_IF_ERROR(CountName(path));
    const auto id = static_cast<ModuleId>(model_.modules.size());
    model_.modules.push_back({.name = path, .class_name = class_name, .parent = parent});
    if (parent != kNoId) model_.modules[parent].children.push_back(id);
    complete_.push_back(false);
    module_of_.emplace(path, id);
    return id;
  }

  Status AddModule(const RawNode& node, const std::string& path, ModuleId parent) {
    if (node.same_as) return AddAgain(node, path, parent);
    STOWAGE_TRY(const ModuleId id, NewModule(path, node.class_name, parent));
    std::unordered_set<std::string_view> names;
    for (const auto& [tensors, buffer] : {std::pair(&node.params, false), std::pair(&node.buffers, true)}) {
      for (const RawTensor& t : *tensors) {
        STOWAGE_RETURN_IF_ERROR(CheckName(path, t.name));
        if (!names.insert(t.name).second) return Bad(fmt::format("module '{}' has two '{}'", path, t.name));
        STOWAGE_RETURN_IF_ERROR(AddTensor(t, id, buffer));
      }
    }
    for (const auto& [name, child] : node.children) {
      STOWAGE_RETURN_IF_ERROR(CheckName(path, name));
      if (!names.insert(name).second) return Bad(fmt::format("module '{}' has two '{}'", path, name));
      STOWAGE_RETURN_IF_ERROR(AddModule(file_.nodes[child], Join(path, name), id));
    }
    complete_[id] = true;
    return OkStatus();
  }

  Status AddTensor(const RawTensor& raw, ModuleId module, bool buffer) {
    const std::string name = Join(model_.modules[module].name, raw.name);
    const std::optional<DType> dtype = ParseDType(raw.dtype);
    if (!dtype) return Bad(fmt::format("tensor '{}': dtype \"{}\" is not known", name, raw.dtype));
    std::int64_t bytes = SizeOf(*dtype, 1).value();
    for (const std::int64_t d : raw.shape) {
      // A zero elsewhere must not hide a product that overflows.
      if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(d, 1), &bytes) || bytes > kMaxBytes) {
        return Bad(fmt::format("tensor '{}' {} has more than 2^62 bytes", name, FormatShape(raw.shape)));
      }
    }
    const std::int64_t before = bytes_;
    if (__builtin_add_overflow(bytes_, bytes, &bytes_) || bytes_ > kMaxBytes) {
      return Bad(
          fmt::format("tensor '{}': the tensors up to it have more than 2^62 bytes ({} before it)", name, before));
    }
    STOWAGE_TRY(const TensorId id, NewTensor({.name = name,
                                              .shape = raw.shape,
                                              .dtype = *dtype,
                                              .module = module,
                                              .buffer = buffer,
                                              .persistent = !buffer || raw.persistent}));
    if (raw.id.empty()) return OkStatus();
    const auto [first, is_new] = owner_of_id_.emplace(raw.id, id);
    return is_new ? OkStatus() : Tie(first->second, id);
  }

  Result<TensorId> NewTensor(Tensor tensor) {
    if (model_.tensors.size() == kMaxParts) return Bad(fmt::format("has more than {} tensors", kMaxParts));
    STOWAGE_RETURN_IF_ERROR(CountName(tensor.name));
    const auto id = static_cast<TensorId>(model_.tensors.size());
    model_.modules[tensor.module].tensors.push_back(id);
    tensor_of_.emplace(tensor.name, id);
    leader_.push_back(id);
    model_.tensors.push_back(std::move(tensor));
    return id;
  }

  Status AddAgain(const RawNode& node, const std::string& path, ModuleId parent) {
    const auto found = module_of_.find(*node.same_as);
    if (found == module_of_.end()) {
      return Bad(
          fmt::format("module '{}' is the same object as '{}', which is not a module before it", path, *node.same_as));
    }
    if (!complete_[found->second]) {
      return Bad(fmt::format("module '{}' is the same object as '{}', which it lies in", path, *node.same_as));
    }
    return CopyModule(found->second, path, parent);
  }

  // Depth is that of what the file spells out, plus one module: a copy lies beside or below its original's parents, and
  // the path limit bounds chains of copies.
  Status CopyModule(ModuleId original, const std::string& path, ModuleId parent) {
    STOWAGE_TRY(const ModuleId id, NewModule(path, model_.modules[original].class_name, parent));
    const ModuleId first = model_.modules[original].same_as;
    model_.modules[id].same_as = first == kNoId ? original : first;
    const std::vector<TensorId> tensors = model_.modules[original].tensors;
    const std::vector<ModuleId> children = model_.modules[original].children;
    const std::size_t prefix = model_.modules[original].name.size();
    for (const TensorId t : tensors) {
      Tensor copy = model_.tensors[t];
      const std::string local = copy.name.substr(prefix + (prefix > 0 ? 1 : 0));
      STOWAGE_RETURN_IF_ERROR(CheckName(path, local));
      copy.name = Join(path, local);
      copy.module = id;
      STOWAGE_TRY(const TensorId again, NewTensor(std::move(copy)));
      STOWAGE_RETURN_IF_ERROR(Tie(t, again));
    }
    for (const ModuleId child : children) {
      const std::string local = model_.modules[child].name.substr(prefix + (prefix > 0 ? 1 : 0));
      STOWAGE_RETURN_IF_ERROR(CheckName(path, local));
      STOWAGE_RETURN_IF_ERROR(CopyModule(child, Join(path, local), id));
    }
    complete_[id] = true;
    return OkStatus();
  }

  TensorId Leader(TensorId t) {
    while (leader_[t] != t) t = leader_[t] = leader_[leader_[t]];
    return t;
  }

  Status Tie(TensorId a, TensorId b) {
    const Tensor& x = model_.tensors[a];
    const Tensor& y = model_.tensors[b];
    if (x.shape != y.shape || x.dtype != y.dtype) {
      return Bad(fmt::format("tied tensors differ: '{}' is {} {}, '{}' is {} {}", x.name, Name(x.dtype),
                             FormatShape(x.shape), y.name, Name(y.dtype), FormatShape(y.shape)));
    }
    const TensorId one = Leader(a);
    const TensorId other = Leader(b);
    leader_[std::max(one, other)] = std::min(one, other);
    return OkStatus();
  }

  Status TieGroups() {
    for (const std::vector<std::string>& group : file_.tied_groups) {
      TensorId first = kNoId;
      for (const std::string& name : group) {
        const auto found = tensor_of_.find(name);
        if (found == tensor_of_.end()) {
          return Bad(fmt::format("tied_groups names '{}', which is not a tensor of the tree", name));
        }
        if (first == kNoId) first = found->second;
        STOWAGE_RETURN_IF_ERROR(Tie(first, found->second));
      }
    }
    return OkStatus();
  }

  // Groups in the order of "tied_groups", then those that ids alone make, by their first tensors.
  void ResolveTies() {
    std::map<TensorId, std::vector<TensorId>> members;  // by leader
    for (std::size_t i = 0; i < model_.tensors.size(); ++i) {
      const auto id = static_cast<TensorId>(i);
      const TensorId owner = Leader(id);
      if (owner == id) continue;
      model_.tensors[id].tied_to = owner;
      members.try_emplace(owner, 1, owner).first->second.push_back(id);
    }
    for (const std::vector<std::string>& group : file_.tied_groups) {
      if (group.empty()) continue;
      const auto listed = members.find(Leader(tensor_of_.at(group[0])));
      if (listed == members.end()) continue;
      model_.tied_groups.push_back(std::move(listed->second));
      members.erase(listed);
    }
    for (auto& [owner, group] : members) model_.tied_groups.push_back(std::move(group));
  }

  const RawFile& file_;
  const std::string& where_;
  Model model_;
  std::int64_t bytes_ = 0;
  std::size_t name_bytes_ = 0;  // of all modules and tensors: copies of copies would double them at every step
  std::size_t max_name_bytes_;
  std::vector<bool> complete_;    // by module: its children are all there
  std::vector<TensorId> leader_;  // union-find over tensors; the lowest id leads
  std::unordered_map<std::string, ModuleId> module_of_;
  std::unordered_map<std::string, TensorId> tensor_of_;
  std::unordered_map<std::string, TensorId> owner_of_id_;
};

}  // namespace

Result<Model> ParseModuleTree(std::string_view text, const std::string& where, std::string name) {
  JsonScanner in(text);
  const RawFile file = ReadFile(in);
  if (!in.ok()) return Error{ErrorCode::kInvalidInput, where + ": " + in.problem()};
  if (!file.root) return Error{ErrorCode::kInvalidInput, where + ": has no root"};
  STOWAGE_TRY(Model model, Assembler(file, text.size(), where).Assemble());
  model.name = std::move(name);
  model.family = "module tree";
  return model;
}

Result<Model> ReadModuleTree(const std::string& path) {
  STOWAGE_TRY(const std::string text, ReadTextFile(path, kMaxFileBytes));
  std::string name = BaseName(path);
  if (const std::size_t end = name.rfind(".modules.json"); end != std::string::npos && end > 0) name.resize(end);
  return ParseModuleTree(text, path, std::move(name));
}

}  // namespace stowage
