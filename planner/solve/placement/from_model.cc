#include "planner/solve/placement/from_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "planner/cost/cost.h"
#include "planner/realize/kernel.h"

namespace stowage {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidInput, std::move(message)}; }

struct Unit {
  std::vector<std::string> names;
  std::vector<TensorId> tensors;
  std::int64_t block = -1;  // which no-split block, counted along the chain
};

bool RunsAfterTheLayers(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return last == "final_layer_norm" || last == "project_out";
}

class Cutter {
 public:
  explicit Cutter(const Model& model)
      : model_(model), no_split_(model.no_split_classes.begin(), model.no_split_classes.end()) {
    has_block_.assign(model.modules.size(), false);
    for (std::size_t m = model.modules.size(); m-- > 1;) {
      if (no_split_.count(model.modules[m].class_name) > 0) has_block_[m] = true;
      if (has_block_[m]) has_block_[model.modules[m].parent] = true;
    }
  }

  std::vector<Unit> Run() {
    Walk(0);
    return std::move(units_);
  }

 private:
  void Collect(ModuleId m, std::vector<TensorId>& tensors) const {
    const Module& module = model_.modules[m];
    tensors.insert(tensors.end(), module.tensors.begin(), module.tensors.end());
    for (const ModuleId c : module.children) Collect(c, tensors);
  }

  void Walk(ModuleId m) {
    const Module& module = model_.modules[m];
    const bool block = no_split_.count(module.class_name) > 0;
    if (block || module.children.empty()) {
      Unit unit{{module.name}, {}, block ? blocks_++ : -1};
      Collect(m, unit.tensors);
      const bool weights =
          std::any_of(unit.tensors.begin(), unit.tensors.end(), [&](TensorId t) { return !model_.tensors[t].buffer; });
      return Add(std::move(unit), weights);
    }
    for (const TensorId t : module.tensors) Add({{model_.tensors[t].name}, {t}, -1}, !model_.tensors[t].buffer);
    std::vector<ModuleId> order = module.children;
    const bool late = std::any_of(order.begin(), order.end(), [&](ModuleId c) { return has_block_[c]; });
    if (late) {
      std::stable_partition(order.begin(), order.end(),
                            [&](ModuleId c) { return !RunsAfterTheLayers(model_.modules[c].name); });
    }
    for (const ModuleId c : order) Walk(c);
  }

  void Add(Unit unit, bool weights) {
    if (weights || units_.empty()) {
      units_.push_back(std::move(unit));
      return;
    }
    Unit& last = units_.back();
    last.names.insert(last.names.end(), unit.names.begin(), unit.names.end());
    last.tensors.insert(last.tensors.end(), unit.tensors.begin(), unit.tensors.end());
  }

  const Model& model_;
  std::set<std::string> no_split_;
  std::vector<bool> has_block_;
  std::vector<Unit> units_;
  std::int64_t blocks_ = 0;
};

struct Rates {
  std::vector<ComputeRate> gpu;
  std::vector<TransferRate> link;  // host to GPU
  ComputeRate cpu;
  TransferRate disk;
};

Result<const Resource*> Find(const Machine& machine, const std::string& name) {
  const std::int32_t i = machine.FindResource(name);
  if (i < 0) return Invalid(fmt::format("machine '{}' has no '{}'", machine.name, name));
  return &machine.resources[i];
}

Result<Rates> RatesOf(const Machine& machine) {
  Rates r;
  for (std::size_t g = 0; g < machine.gpus.size(); ++g) {
    STOWAGE_TRY(const Resource* sm, Find(machine, fmt::format("gpu{}.sm", g)));
    STOWAGE_TRY(const Resource* h2d, Find(machine, fmt::format("gpu{}.h2d", g)));
    if (!sm->compute || !h2d->transfer) return Invalid(fmt::format("gpu{} has no rates", g));
    r.gpu.push_back(*sm->compute);
    r.link.push_back(*h2d->transfer);
  }
  STOWAGE_TRY(const Resource* cores, Find(machine, "host.cores"));
  STOWAGE_TRY(const Resource* disk, Find(machine, "disk0"));
  if (!cores->compute || !disk->transfer) return Invalid("the host has no rates");
  r.cpu = *cores->compute;
  r.disk = *disk->transfer;
  return r;
}

// One pass as the chain sees it: `times` of it, all alike.
struct MeanPass {
  double times;
  std::int64_t rows;  // positions computed
  std::int64_t sequences;
  std::int64_t context;  // positions read from the cache, of one sequence
};

class Chain {
 public:
  Chain(const Model& model, const Request& request, const Machine& machine, const ChainOptions& options, Rates rates)
      : model_(model), request_(request), machine_(machine), options_(options), rates_(std::move(rates)) {
    passes_.push_back({1, request.batch * request.prompt_tokens, request.batch, request.prompt_tokens});
    const std::int64_t decode = request.DecodePasses();
    if (decode > 0) {
      passes_.push_back(
          {static_cast<double>(decode), request.batch, request.batch, request.prompt_tokens + decode / 2});
    }
  }

  Result<ModelChain> Make() {
    const std::vector<Unit> units = Cutter(model_).Run();
    blocks_ = std::count_if(units.begin(), units.end(), [](const Unit& u) { return u.block >= 0; });
    if (blocks_ == 0) return Invalid(fmt::format("'{}': no module is known as a no-split block", model_.name));
    if (model_.shape.cross_positions > 0) encoder_blocks_ = std::max<std::int64_t>(0, blocks_ - model_.shape.layers);
    ModelChain chain;
    std::int64_t done = 0;
    for (std::size_t i = 0; i < units.size(); ++i) {
      done += units[i].block >= 0 ? 1 : 0;
      chain.problem.units.push_back(UnitOf(units[i], done == blocks_ && units[i].block < 0 && i + 1 == units.size()));
      chain.names.push_back(units[i].names);
    }
    Devices(chain.problem);
    Links(chain.problem);
    Ties(units, chain.problem);
    chain.problem.objective = options_.objective;
    chain.problem.any_order = options_.any_order;
    return chain;
  }

 private:
  // The storage of a tensor, and its bytes once within a unit.
  TensorId Storage(TensorId t) const { return model_.tensors[t].tied_to == kNoId ? t : model_.tensors[t].tied_to; }

  bool IsEmbedding(const Tensor& t) const {
    return t.module != kNoId && model_.modules[t.module].class_name.find("Embedding") != std::string::npos;
  }

  Seconds TensorTime(const Tensor& t, const MeanPass& pass, std::int64_t rows, const ComputeRate& rate) const {
    Kernel k;
    k.dtype = t.dtype;
    const std::int64_t elements = Elements(t.shape);
    if (IsEmbedding(t) && t.shape.size() == 2) {
      k.bytes = SizeOf(t.dtype, 2 * std::min(rows, t.shape[0]) * t.shape[1]);
    } else {
      k.flops.base = t.shape.size() < 2 ? 0 : 2.0 * static_cast<double>(elements) * static_cast<double>(rows);
      k.bytes = t.bytes();
    }
    return Duration(k, 0, rate) * pass.times;
  }

  // transformers' forward computes them for every position.
  bool AllLogits() const { return request_.all_logits || options_.runtime == ChainRuntime::kAccelerate; }

  // Of an encoder-decoder: run by the first pass alone, over the encoder's rows; nothing is cached there.
  bool InEncoder(const Unit& unit) const { return unit.block >= 0 && unit.block < encoder_blocks_; }
  // Rows of the widest pass: whisper's frames are more than its prompt.
  std::int64_t FirstRows() const {
    return request_.batch * std::max(request_.prompt_tokens, model_.shape.cross_positions);
  }

  Bytes CacheOf(const Unit& unit, std::int64_t positions) const {
    const bool cached = unit.block >= encoder_blocks_ && options_.layer_cache;
    return cached ? options_.layer_cache(unit.block - encoder_blocks_, positions) : Bytes(0);
  }

  Seconds UnitTime(const Unit& unit, bool head, const ComputeRate& rate) const {
    Seconds time;
    for (const MeanPass& pass : passes_) {
      const bool first = &pass == &passes_.front();
      if (InEncoder(unit) && !first) break;
      const std::int64_t rows = InEncoder(unit) ? FirstRows() : head && !AllLogits() ? pass.sequences : pass.rows;
      for (const TensorId t : unit.tensors) {
        if (!model_.tensors[t].buffer) time += TensorTime(model_.tensors[t], pass, rows, rate);
      }
      if (unit.block < 0) continue;
      Kernel cache;
      cache.bytes = CacheOf(unit, pass.context) * pass.sequences;
      time += Duration(cache, 0, rate) * pass.times;
    }
    return time;
  }

  ChainUnit UnitOf(const Unit& unit, bool last) const {
    ChainUnit u;
    u.name = unit.names[0];
    std::set<TensorId> seen;
    DType dtype = DType::kF32;
    bool head = false;
    for (const TensorId t : unit.tensors) {
      const Tensor& tensor = model_.tensors[t];
      if (seen.insert(Storage(t)).second) u.weights += tensor.bytes();
      if (tensor.buffer) continue;
      dtype = tensor.dtype;
      head |= last && !tensor.shape.empty() && tensor.shape[0] == model_.shape.vocab;
    }
    u.staging = u.weights;
    const std::int64_t rows = FirstRows();
    u.boundary = SizeOf(dtype, rows * model_.shape.hidden);
    if (unit.block >= 0) {
      u.state = CacheOf(unit, request_.CachePositions()) * request_.batch;
      u.transient = SizeOf(dtype, rows * (4 * model_.shape.hidden + 3 * model_.shape.intermediate));
    } else if (head) {
      u.transient = SizeOf(dtype, (AllLogits() ? rows : request_.batch) * model_.shape.vocab) +
                    SizeOf(DType::kF32, request_.batch * model_.shape.vocab);
    }
    double passes = 0;
    for (const MeanPass& pass : passes_) passes += pass.times;
    if (InEncoder(unit)) passes = passes_.front().times;
    for (std::size_t g = 0; g < rates_.gpu.size(); ++g) {
      const TransferRate& link = rates_.link[g];
      const bool native = options_.runtime == ChainRuntime::kNative;
      const bool streams = native || g == 0;
      const Seconds over_link = Duration(u.weights, link, !native && link.pageable > BytesPerSecond(0)) * passes;
      u.seconds.push_back(UnitTime(unit, head, rates_.gpu[g]));
      u.host_stream.push_back(streams ? over_link : kNeverSeconds);
      u.disk_stream.push_back(streams ? over_link + Duration(u.weights, rates_.disk) * passes : kNeverSeconds);
    }
    if (options_.runtime == ChainRuntime::kNative) u.cpu_seconds = UnitTime(unit, head, rates_.cpu);
    return u;
  }

  Bytes Budget(std::string_view pool) const {
    const std::int32_t i = machine_.FindPool(pool);
    return i < 0 ? Bytes(0) : machine_.pools[i].budget;
  }

  void Devices(PlacementProblem& p) const {
    for (std::size_t g = 0; g < machine_.gpus.size(); ++g) {
      const std::string pool = fmt::format("gpu{}", g);
      p.devices.push_back({pool, Budget(pool), machine_.Reserved(pool)});
    }
    p.host_budget = Budget("host");
    p.host_workspace = machine_.Reserved("host");
    p.disk_budget = Budget("disk");
  }

  // A hop carries one pass's activations; units give the prefill's, so a rate that stands for all passes is scaled.
  ChainLink Hop(const TransferRate& rate) const {
    double passes = 0, rows = 0;
    for (const MeanPass& pass : passes_) {
      passes += pass.times;
      rows += pass.times * static_cast<double>(pass.rows);
    }
    const double once = static_cast<double>(std::max<std::int64_t>(1, request_.batch * request_.prompt_tokens));
    return {rate.latency * passes, BytesPerSecond(rate.pinned.value() * once / std::max(rows, 1.0))};
  }

  void Links(PlacementProblem& p) const {
    const std::size_t n = machine_.gpus.size();
    p.links.assign(n + 1, std::vector<ChainLink>(n + 1));
    for (std::size_t a = 0; a < n; ++a) {
      p.links[a][n] = p.links[n][a] = Hop(rates_.link[a]);
      for (std::size_t b = a + 1; b < n; ++b) {
        const std::int32_t i = machine_.FindResource(fmt::format("link:gpu{}-gpu{}", a, b));
        const bool known = i >= 0 && machine_.resources[i].transfer.has_value();
        p.links[a][b] = p.links[b][a] = Hop(known ? *machine_.resources[i].transfer : rates_.link[a]);
      }
    }
  }

  void Ties(const std::vector<Unit>& units, PlacementProblem& p) const {
    std::map<TensorId, std::set<std::int32_t>> users;
    for (std::size_t u = 0; u < units.size(); ++u) {
      for (const TensorId t : units[u].tensors) users[Storage(t)].insert(static_cast<std::int32_t>(u));
    }
    std::map<std::set<std::int32_t>, Bytes> ties;
    for (const auto& [storage, who] : users) {
      if (who.size() > 1) ties[who] += model_.tensors[storage].bytes();
    }
    for (const auto& [who, bytes] : ties) p.ties.push_back({{who.begin(), who.end()}, bytes});
  }

  const Model& model_;
  const Request& request_;
  const Machine& machine_;
  const ChainOptions& options_;
  Rates rates_;
  std::vector<MeanPass> passes_;
  std::int64_t blocks_ = 0, encoder_blocks_ = 0;
};

}  // namespace

Result<ModelChain> ChainOf(const Model& model, const Request& request, const Machine& machine,
                           const ChainOptions& options) {
  if (machine.gpus.empty() || machine.gpus.size() > 16) {
    return Invalid(fmt::format("{} GPUs; 1 to 16 can be planned", machine.gpus.size()));
  }
  if (model.modules.empty()) return Invalid(fmt::format("'{}' has no module tree", model.name));
  STOWAGE_TRY(Rates rates, RatesOf(machine));
  return Chain(model, request, machine, options, std::move(rates)).Make();
}

accelerate::DeviceMap DeviceMapOf(const ModelChain& chain, const ChainPlacement& placement) {
  accelerate::DeviceMap map;
  for (std::size_t u = 0; u < chain.names.size(); ++u) {
    const UnitPlacement& at = placement.units[u];
    accelerate::DeviceKey key{accelerate::DeviceKind::kAccelerator, at.device};
    if (at.weights == KeptOn::kHost) key = {accelerate::DeviceKind::kCpu, 0};
    if (at.weights == KeptOn::kDisk) key = {accelerate::DeviceKind::kDisk, 0};
    for (const std::string& name : chain.names[u]) map[name] = key;
  }
  return map;
}

}  // namespace stowage
