#include "planner/solve/accelerate/infer.h"

#include <algorithm>
#include <set>

#include "planner/solve/accelerate/work_list.h"

namespace stowage::accelerate {
namespace {

struct DeviceState {
  DeviceKey key;
  std::optional<Number> limit;  // absent: disk, which takes everything
  bool main = false;            // keeps room for the largest layer
  Number used;
  Number buffers;
  std::optional<Number> needed;  // by the item that left it empty
};

// What an item takes with the modules that must go with it.
struct Load {
  std::vector<NodeId> tied;    // parameters outside the item
  std::vector<NodeId> owners;  // by tied parameter (accelerate) or each once (transformers)
  Number bytes;
};

class Sweep {
 public:
  Sweep(const PlacementTree& tree, const InferOptions& options)
      : tree_(tree),
        options_(options),
        transformers_(options.sizes.rules == Rules::kTransformers),
        sizes_(ComputeModuleSizes(tree, options.sizes)),
        no_split_(tree, options.no_split),
        ties_(tree) {}

  Result<Inferred> Run() && {
    SetUp();
    while (!list_.empty()) {
      const NodeId item = list_.back();
      list_.pop_back();
      STOWAGE_RETURN_IF_ERROR(Treat(item));
    }
    return Finish();
  }

 private:
  void SetUp() {
    for (const auto& [device, value] : options_.max_memory) {
      if (device.kind != DeviceKind::kDisk) devices_.push_back({.key = device, .limit = value});
    }
    const bool mps = std::any_of(devices_.begin(), devices_.end(),
                                 [](const DeviceState& d) { return d.key.kind == DeviceKind::kMps; });
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      const DeviceKind kind = devices_[i].key.kind;
      devices_[i].main = mps ? kind == DeviceKind::kMps : i == 0 || kind == DeviceKind::kCpu;
    }
    devices_.push_back({.key = {DeviceKind::kDisk, 0}, .limit = std::nullopt});
    std::vector<NodeId> items = Parts(tree_, 0, options_.sizes.rules);
    std::vector<NodeId> buffers = tree_.nodes[0].tensors;
    std::erase_if(buffers, [&](NodeId t) { return tree_.nodes[t].kind != NodeKind::kBuffer || tree_.nodes[t].again; });
    items.insert(items.end(), buffers.begin(), buffers.end());
    Prepend(list_, items);
    largest_ = FindLargestLayer(tree_, sizes_, no_split_, list_);
  }

  Status Treat(NodeId item) {
    std::erase_if(largest_.layers, [&](NodeId n) { return n == item || tree_.IsInside(n, item); });
    if (largest_.layers.empty()) UpdateLargest();
    DeviceState& device = devices_[current_];
    const Number reserved = device.main ? largest_.bytes : Number();
    Result<Load> load = LoadOf(item);
    if (!load) return std::move(load).error().In(tree_.nodes[item].name);
    if (!device.limit) return Place(item, *load);
    const Number limit = device.main ? *device.limit - reserved : *device.limit;
    if (device.used + load->bytes <= limit) return Place(item, *load);

    const Number alone = device.used + sizes_.bytes[item];
    if (!load->tied.empty() && alone <= limit && SplitAnOwner(item, load->owners)) return Progress();
    if ((transformers_ || alone >= limit) && !no_split_.IsLayer(item)) {
      Prepend(list_, Parts(tree_, item, options_.sizes.rules));
      UpdateLargest();
      return Progress();
    }
    if (options_.fallback && !transformers_ && device.used == Number()) {
      Result<bool> fallen = FallBack(item, *device.limit - Max(largest_.bytes, load->bytes) - device.used);
      if (!fallen) return std::move(fallen).error();
      if (*fallen) return OkStatus();
    }
    if (device.used == Number()) device.needed = load->bytes + reserved;
    device.used += reserved;
    ++current_;
    list_.push_back(item);
    return Progress();
  }

  // The largest of what is left, tensors without a module left out.
  void UpdateLargest() {
    std::vector<NodeId> modules;
    std::copy_if(list_.begin(), list_.end(), std::back_inserter(modules), [&](NodeId n) { return tree_.IsModule(n); });
    largest_ = FindLargestLayer(tree_, sizes_, no_split_, modules);
  }

  Result<Load> LoadOf(NodeId item) const {
    Load load{.tied = ties_.Outside(item), .owners = {}, .bytes = {}};
    STOWAGE_TRY(const std::vector<NodeId> owners, ties_.Owners(load.tied, list_));
    if (!transformers_) {
      load.bytes = BytesWithOwners(sizes_, item, load.tied, owners);
      load.owners = owners;
      return load;
    }
    load.bytes = sizes_.bytes[item];
    for (const NodeId owner : owners) {
      if (std::find(load.owners.begin(), load.owners.end(), owner) != load.owners.end()) continue;
      load.owners.push_back(owner);
      load.bytes += sizes_.bytes[owner];
    }
    return load;
  }

  Status Place(NodeId item, const Load& load) {
    DeviceState& device = devices_[current_];
    device.used += load.bytes;
    placed_[item] = current_;
    for (const NodeId owner : load.owners) {
      std::erase(list_, owner);
      placed_[owner] = current_;
    }
    if (!options_.offload_buffers && tree_.IsModule(item)) {
      device.buffers += TotalBufferBytes(tree_, item, options_.sizes);
    }
    return Progress();
  }

  bool SplitAnOwner(NodeId item, const std::vector<NodeId>& owners) {
    for (const NodeId owner : owners) {
      if (no_split_.IsLayer(owner)) continue;
      Replace(list_, *IndexOf(list_, owner), Parts(tree_, owner, options_.sizes.rules));
      list_.push_back(item);
      UpdateLargest();
      return true;
    }
    return false;
  }

  Result<bool> FallBack(NodeId item, Number limit) {
    STOWAGE_TRY(const std::optional<NodeId> found, TakeOneThatFits(tree_, sizes_, no_split_, ties_, limit, list_));
    if (!found) return false;
    list_.push_back(item);
    list_.push_back(*found);
    // Python has no memory of what it tried: it takes turns between the same items for ever.
    if (tried_.insert({list_, largest_.layers}).second) return true;
    return Error{ErrorCode::kInfeasible, "fallback allocation does not end: " + tree_.nodes[*found].name + " and " +
                                             tree_.nodes[item].name + " keep making way for each other"};
  }

  // Something changed for good: nothing tried before can come back.
  Status Progress() {
    tried_.clear();
    return OkStatus();
  }

  Result<Inferred> Finish() {
    Inferred result;
    for (const auto& [node, device] : placed_) result.map[tree_.nodes[node].name] = devices_[device].key;
    if (options_.clean) result.map = CleanDeviceMap(std::move(result.map));
    for (const DeviceState& device : devices_) {
      if (device.needed) result.skipped.emplace_back(device.key, *device.needed);
    }
    if (!options_.offload_buffers) result.homeless_buffers = HomelessBuffers();
    if (transformers_) {
      STOWAGE_TRY(result.ties_apart, TiesApart(tree_, result.map));
    }
    return result;
  }

  std::optional<Number> HomelessBuffers() const {
    Number offloaded;
    bool accelerator = false;
    for (const DeviceState& device : devices_) {
      const bool host = device.key.kind == DeviceKind::kCpu || device.key.kind == DeviceKind::kDisk;
      if (host) offloaded += device.buffers;
      accelerator = accelerator || !host;
    }
    if (!accelerator || !(offloaded > Number())) return std::nullopt;
    for (const DeviceState& device : devices_) {
      if (device.key.kind == DeviceKind::kCpu || device.key.kind == DeviceKind::kDisk) continue;
      if (*device.limit >= offloaded + Max(Number(), device.used)) return std::nullopt;
    }
    return offloaded;
  }

  const PlacementTree& tree_;
  const InferOptions& options_;
  const bool transformers_;
  const ModuleSizes sizes_;
  const NoSplit no_split_;
  const Ties ties_;
  WorkList list_;
  LargestLayer largest_;
  std::vector<DeviceState> devices_;
  std::size_t current_ = 0;
  std::map<NodeId, std::size_t> placed_;
  std::set<std::pair<WorkList, std::vector<NodeId>>> tried_;
};

}  // namespace

Result<Inferred> InferDeviceMap(const PlacementTree& tree, const InferOptions& options) {
  return Sweep(tree, options).Run();
}

}  // namespace stowage::accelerate
