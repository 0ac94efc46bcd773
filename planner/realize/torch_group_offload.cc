#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "planner/base/check.h"
#include "planner/realize/torch_hooks.h"

namespace stowage {
namespace {

constexpr std::string_view kCopied = "_to_copy.default";

class GroupHooks {
 public:
  GroupHooks(const Model& model, const OffloadGroups& groups, const std::vector<ModuleId>* traced,
             TorchProgram* program)
      : model_(model),
        groups_(groups),
        first_(traced == nullptr),
        program_(program),
        next_(model.modules.size(), -1),
        onload_self_(groups.groups.size(), true),
        device_(model.tensors.size(), kNoId),
        twin_(model.tensors.size(), kNoId),
        master_(model.tensors.size(), kNoId),
        twin_master_(model.tensors.size(), kNoId),
        streamed_(model.tensors.size(), false) {
    for (const OffloadGroup& group : groups.groups) {
      for (const TensorId id : group.up) streamed_[id] = streamed_[id] || groups.IsPinned(group);
    }
    if (traced != nullptr && groups.options.stream) Chain(*traced);
    if (traced != nullptr) FindLingering();
  }

  Result<std::vector<TorchEvent>> Run(std::vector<TorchEvent> events) {
    out_.reserve(events.size() * 2);
    for (TorchEvent& event : events) {
      module_ = event.module;
      if (event.kind == TorchEventKind::kExit) PostForward(event.module);
      if (event.kind == TorchEventKind::kCompute) STOWAGE_RETURN_IF_ERROR(ReadUploads(event));
      out_.push_back(event);
      if (event.kind == TorchEventKind::kEnter) PreForward(event.module);
    }
    NameLingering();
    return std::move(out_);
  }

 private:
  // The first pass's order: each leader onloads the group of the next one, the root that of the first.
  void Chain(const std::vector<ModuleId>& traced) {
    ModuleId before = 0;
    for (const ModuleId module : traced) {
      next_[before] = groups_.of_module[module];
      onload_self_[next_[before]] = false;
      before = module;
    }
  }

  void FindLingering() {
    for (const OffloadGroup& group : groups_.groups) {
      for (const TensorId id : group.lingering) {
        device_[id] = New(id, TorchRole::kLingering, TorchPlace::kDevice, 1);
        program_->storages[device_[id]].op = "past";
      }
    }
  }

  // Nothing else is on the device after a pass.
  void NameLingering() {
    for (const OffloadGroup& group : groups_.groups) {
      for (const TensorId id : group.lingering) device_[id] = kNoId;
    }
    for (std::size_t i = 0; i < device_.size(); ++i) STOWAGE_CHECK(device_[i] == kNoId && twin_[i] == kNoId);
  }

  bool Lingers(const OffloadGroup& group, TensorId id) const {
    return std::find(group.lingering.begin(), group.lingering.end(), id) != group.lingering.end();
  }

  void PreForward(ModuleId module) {
    const std::int32_t index = groups_.of_module[module];
    if (index < 0 || groups_.groups[index].onload_leader != module) return;
    const OffloadGroup& group = groups_.groups[index];
    if (onload_self_[index]) {
      Onload(group);
    } else if (!Here(group)) {
      Onload(group);
      Wait(1);
    }
    const std::int32_t next = next_[module];
    const bool onloads_next = next >= 0 && !onload_self_[next];
    if (onloads_next) Onload(groups_.groups[next]);
    if (!onload_self_[index] && group.streamed && !onloads_next) Wait(1);
  }

  // diffusers looks at the first parameter; a group of buffers alone is taken to be there.
  bool Here(const OffloadGroup& group) const {
    const auto parameter =
        std::find_if(group.up.begin(), group.up.end(), [&](TensorId t) { return !model_.tensors[t].buffer; });
    return parameter == group.up.end() || device_[*parameter] != kNoId;
  }

  void Onload(const OffloadGroup& group) {
    if (group.streamed) Wait(1);
    if (groups_.options.disk) return OnloadFromFile(group);
    if (group.streamed) return OnloadOnStream(group);
    std::vector<bool> seen(model_.tensors.size());
    for (const TensorId id : group.up) {
      const bool again = seen[id];
      seen[id] = true;
      if (again && first_) continue;  // still the same tensor as the module's
      std::vector<StorageId>& devices = again ? twin_ : device_;
      if (devices[id] != kNoId) continue;
      const StorageId master = Master(id, again);
      devices[id] = NewDevice(id, 0);
      Upload(devices[id], master, false);
      Put(TorchEventKind::kRelease, master);
    }
  }

  void OnloadOnStream(const OffloadGroup& group) {
    UseStream(1);
    std::vector<StorageId> pinned;
    if (groups_.options.low_cpu_mem) {
      for (const TensorId id : group.up) {
        pinned.push_back(NewHost(id, TorchPlace::kPinned));
        Put(TorchEventKind::kAllocate, pinned.back());
        Move(TorchEventKind::kPin, Master(id, false), pinned.back());
      }
    }
    for (std::size_t i = 0; i < group.up.size(); ++i) {
      const TensorId id = group.up[i];
      const StorageId device = NewDevice(id, 1);
      Upload(device, pinned.empty() ? Master(id, false) : pinned[i], !first_);
      const bool lingers = Lingers(group, id);
      if (lingers && first_ && pinned.empty()) Put(TorchEventKind::kRelease, Master(id, true));
      Assign(id, device);
      if (lingers) program_->storages[device].role = TorchRole::kLingers;
    }
    UseStream(0);
    for (const StorageId id : pinned) Put(TorchEventKind::kRelease, id);
  }

  // safetensors' load_file. With a stream all tensors of the group are on the host at once, each is pinned in turn;
  // without, one after the other goes to the device.
  void OnloadFromFile(const OffloadGroup& group) {
    if (group.streamed) UseStream(1);
    std::vector<StorageId> loaded;
    StorageId pinned = kNoId;
    for (const TensorId id : group.up) {
      loaded.push_back(NewHost(id, TorchPlace::kPageable));
      Put(TorchEventKind::kAllocate, loaded.back());
      Move(TorchEventKind::kReadFile, kNoId, loaded.back());
      if (group.streamed) continue;
      device_[id] = NewDevice(id, 0);
      Upload(device_[id], loaded.back(), false);
      Put(TorchEventKind::kRelease, loaded.back());
    }
    for (std::size_t i = 0; group.streamed && i < group.up.size(); ++i) {
      const StorageId before = std::exchange(pinned, NewHost(group.up[i], TorchPlace::kPinned));
      Put(TorchEventKind::kAllocate, pinned);
      Move(TorchEventKind::kPin, loaded[i], pinned);
      if (before != kNoId) Put(TorchEventKind::kRelease, before);
      const StorageId device = NewDevice(group.up[i], 1);
      Upload(device, pinned, !first_);
      Assign(group.up[i], device);
    }
    if (!group.streamed) return;
    UseStream(0);
    for (const StorageId id : loaded) Put(TorchEventKind::kRelease, id);
    if (pinned != kNoId) Put(TorchEventKind::kRelease, pinned);
  }

  void PostForward(ModuleId module) {
    const std::int32_t index = groups_.of_module[module];
    if (index < 0 || groups_.groups[index].offload_leader != module) return;
    const OffloadGroup& group = groups_.groups[index];
    if (group.streamed && !groups_.options.record_stream) Wait(0);
    if (group.streamed || groups_.options.disk) {
      for (const TensorId id : group.down) Drop(device_[id]);
      return;
    }
    std::vector<bool> seen(model_.tensors.size());
    for (const TensorId id : group.down) {
      const bool again = seen[id];
      seen[id] = true;
      if (!again && device_[id] == kNoId) continue;
      const bool shared = !again && first_ && std::count(group.down.begin(), group.down.end(), id) > 1;
      StorageId& device = again && !first_ ? twin_[id] : device_[id];
      const StorageId master = Master(id, again);
      Put(TorchEventKind::kAllocate, master);
      Move(TorchEventKind::kDownload, device, master);
      if (!shared) Drop(device);  // else the group's list still has it
    }
  }

  StorageId Master(TensorId id, bool twin) {
    StorageId& known = (twin ? twin_master_ : master_)[id];
    if (known != kNoId) return known;
    known = NewHost(id, !twin && streamed_[id] ? TorchPlace::kPinned : TorchPlace::kPageable);
    program_->storages[known].role = twin ? TorchRole::kTwin : TorchRole::kMaster;
    return known;
  }

  StorageId New(TensorId id, TorchRole role, TorchPlace place, std::int8_t stream) {
    program_->storages.push_back({.op = kCopied,
                                  .bytes = model_.tensors[id].bytes(),
                                  .module = model_.tensors[id].module,
                                  .role = role,
                                  .tensor = id,
                                  .place = place,
                                  .stream = stream});
    return static_cast<StorageId>(program_->storages.size()) - 1;
  }
  StorageId NewHost(TensorId id, TorchPlace place) { return New(id, TorchRole::kTemporary, place, 0); }
  StorageId NewDevice(TensorId id, std::int8_t stream) {
    const StorageId device = New(id, TorchRole::kUpload, TorchPlace::kDevice, stream);
    Put(TorchEventKind::kAllocate, device);
    return device;
  }

  void Assign(TensorId id, StorageId device) {
    const StorageId before = std::exchange(device_[id], device);
    if (before != kNoId) Put(TorchEventKind::kRelease, before);
    if (groups_.options.record_stream) Put(TorchEventKind::kRecordStream, device);
  }

  void Drop(StorageId& device) {
    if (device != kNoId) Put(TorchEventKind::kRelease, device);
    device = kNoId;
  }

  void Put(TorchEventKind kind, StorageId storage) {
    out_.push_back({.kind = kind, .storage = storage, .module = module_});
  }
  void Move(TorchEventKind kind, StorageId from, StorageId to) {
    TorchEvent event{.kind = kind, .module = module_};
    if (from != kNoId) event.reads.push_back(from);
    event.writes.push_back(to);
    out_.push_back(event);
  }
  void Upload(StorageId device, StorageId host, bool async) {
    TorchEvent event{.kind = TorchEventKind::kUpload, .storage = device, .module = module_, .async = async};
    event.stream = program_->storages[device].stream;
    event.reads.push_back(host);
    out_.push_back(event);
  }
  void UseStream(std::int8_t stream) {
    out_.push_back({.kind = TorchEventKind::kUseStream, .module = module_, .stream = stream});
  }
  void Wait(std::int8_t stream) {
    out_.push_back({.kind = TorchEventKind::kWaitStream, .module = module_, .stream = stream});
  }

  Status ReadUploads(TorchEvent& event) const {
    for (const TensorId weight : event.weights) {
      const TensorId owner = model_.tensors[weight].tied_to == kNoId ? weight : model_.tensors[weight].tied_to;
      if (device_[owner] == kNoId) {
        return Error{ErrorCode::kInvalidInput,
                     fmt::format("group offload: '{}' would run with '{}' on the host, which is not simulated",
                                 model_.modules[event.module].name, model_.tensors[weight].name)};
      }
      event.reads.push_back(device_[owner]);
    }
    return OkStatus();
  }

  const Model& model_;
  const OffloadGroups& groups_;
  const bool first_;
  TorchProgram* program_;
  ModuleId module_ = kNoId;
  std::vector<std::int32_t> next_;                               // by ModuleId: the group that its hook onloads ahead
  std::vector<bool> onload_self_;                                // by group
  std::vector<StorageId> device_, twin_, master_, twin_master_;  // by TensorId
  std::vector<bool> streamed_;                                   // by TensorId: has a pinned copy for ever
  std::vector<TorchEvent> out_;
};

}  // namespace

std::vector<ModuleId> TracedOrder(const TorchProgram& program, const OffloadGroups& groups) {
  std::vector<ModuleId> order;
  for (const TorchEvent& event : program.events) {
    if (event.kind != TorchEventKind::kEnter || event.module == 0) continue;
    if (groups.of_module[event.module] >= 0) order.push_back(event.module);
  }
  return order;
}

Result<TorchProgram> AddGroupOffloadHooks(TorchProgram program, const Model& model, const OffloadGroups& groups,
                                          const std::vector<ModuleId>* traced) {
  STOWAGE_CHECK(program.hooked.empty());
  std::vector<TorchEvent> events = std::move(program.events);
  STOWAGE_TRY(program.events, GroupHooks(model, groups, traced, &program).Run(std::move(events)));
  for (const std::int32_t group : groups.of_module) program.hooked.push_back(group >= 0);
  return program;
}

TorchProgram AddModelOffloadHooks(TorchProgram program, const Model& model) {
  STOWAGE_CHECK(program.hooked.empty() && !program.events.empty());
  std::vector<TorchEvent> events;
  for (const TorchEvent& event : program.events) {
    events.push_back(event);
    if (event.kind != TorchEventKind::kEnter || event.module != 0) continue;
    for (const TensorId id : ModuleToOrder(model, 0)) {
      const auto device = static_cast<StorageId>(program.storages.size());
      const TorchStorage moved{
          .op = kCopied, .bytes = model.tensors[id].bytes(), .role = TorchRole::kMoved, .tensor = id};
      program.storages.push_back(moved);
      program.storages.push_back(moved);
      program.storages.back().role = TorchRole::kMaster;
      program.storages.back().place = TorchPlace::kPageable;
      events.push_back({.kind = TorchEventKind::kAllocate, .storage = device, .module = 0});
      TorchEvent upload{.kind = TorchEventKind::kUpload, .storage = device, .module = 0};
      upload.reads.push_back(device + 1);
      events.push_back(upload);
      events.push_back({.kind = TorchEventKind::kRelease, .storage = device + 1, .module = 0});
    }
  }
  program.events = std::move(events);
  program.hooked.assign(model.modules.size(), false);
  program.hooked[0] = true;
  return program;
}

}  // namespace stowage
