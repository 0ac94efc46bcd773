// An empty model, one shard after the other.
//
//   by-shard:4           from_pretrained of transformers 4.57: the shard is mapped; tensor by tensor is cast on the host
//                        where the dtype is another and moved. Beside the weights: one tensor cast, the mapped shard.
//   by-shard:accelerate  load_checkpoint_in_model: all of the shard is read where it goes, mapped on the host, and stays
//                        until the shard is done, also what is cast there: a GPU holds its part of a shard twice.
//   by-shard:bin         the same of pickled files: all of the shard is in host memory, as its file has it.
//
// The last two call empty_cache after each tensor that is put on a GPU. With weights for the disk, they write those to the
// offload folder as the file has them, and by default (offload_state_dict) what stays on the host as well, to read it
// back when all shards are done.
#include <utility>
#include <vector>

#include "planner/strategy/torch/torch_load.h"

namespace stowage {
namespace {

class ShardLoad {
 public:
  ShardLoad(TorchLoader& loader, LoadMode mode)
      : loader_(loader),
        b_(loader.b()),
        mode_(mode),
        one_by_one_(mode == LoadMode::kByShard4),
        parks_(!one_by_one_ && loader.UsesFolder()),
        read_(loader.weights().host.size(), -1) {}

  void Run() {
    if (one_by_one_) loader_.WarmUp();
    for (const std::vector<TensorId>& shard : loader_.Shards()) {
      for (const TensorId id : shard) {
        if (one_by_one_ && OnDisk(id)) {
          loader_.weights().file[id] = loader_.FileOf(id);
          continue;
        }
        Read(id);
        if (one_by_one_) Put(id);
      }
      for (const TensorId id : shard) {
        if (!one_by_one_) Put(id);
      }
      for (const BufferId buffer : drop_) b_.Free(buffer);
      drop_.clear();
    }
    for (const auto& [id, file] : parked_) ReadBack(id, file);
    for (const auto& [id, file] : parked_) b_.Free(file);
  }

 private:
  bool OnDevice(TensorId id) const { return loader_.HomeOf(id) == WeightHome::kDevice; }
  bool OnDisk(TensorId id) const { return loader_.HomeOf(id) == WeightHome::kDisk; }
  DType Stored(TensorId id) const { return FileDType(loader_.tensor(id)); }
  bool Casts(TensorId id) const { return Stored(id) != loader_.LoadDType(id); }

  void Read(TensorId id) {
    const bool mapped = mode_ != LoadMode::kByShardBin;
    const BufferId file = loader_.FileOf(id);
    read_[id] =
        loader_.NewBuffer(id, mapped ? loader_.PageCache() : loader_.lanes().host, mapped ? "@mapped" : "@shard",
                          mapped ? BufferKind::kWeights : BufferKind::kStaging, Stored(id));
    loader_.Read(file, read_[id]);
    if (mode_ != LoadMode::kByShardAccelerate || !OnDevice(id)) return;
    drop_.push_back(read_[id]);
    read_[id] = loader_.CopyToDevice(id, read_[id], Stored(id), Casts(id) ? "@shard" : "");
  }

  // What was read becomes the weight: as it is, or a copy of it. Then the shard's is dropped with the shard.
  void Put(TensorId id) {
    if (parks_ && !OnDevice(id)) return Park(id);
    const DType wanted = loader_.LoadDType(id);
    const bool is_there = mode_ == LoadMode::kByShardAccelerate && OnDevice(id);
    BufferId at = read_[id];
    if (Casts(id)) {
      at = loader_.Cast(id, read_[id], Stored(id), wanted, is_there ? "" : "@host", is_there);
      drop_.push_back(read_[id]);
    }
    if (!OnDevice(id)) {
      loader_.weights().host[id] = at;
      return;
    }
    loader_.weights().device[id] = is_there ? at : loader_.CopyToDevice(id, at, wanted);
    if (!is_there && Casts(id)) b_.Free(at);
    if (!is_there && !Casts(id)) drop_.push_back(at);
    if (!one_by_one_) b_.EmptyCache(loader_.GpuOf(id).pool);
  }

  void Park(TensorId id) {
    const BufferId file = loader_.WriteToFolder(id, read_[id], Stored(id));
    drop_.push_back(read_[id]);
    if (OnDisk(id)) {
      loader_.weights().file[id] = file;
    } else {
      parked_.emplace_back(id, file);
    }
  }

  void ReadBack(TensorId id, BufferId file) {
    const BufferId raw =
        loader_.NewBuffer(id, loader_.lanes().host, Casts(id) ? "@parked" : "@host", BufferKind::kWeights, Stored(id));
    loader_.CopyMapped(id, file, raw, Stored(id));
    loader_.weights().host[id] = raw;
    if (!Casts(id)) return;
    loader_.weights().host[id] = loader_.Cast(id, raw, Stored(id), loader_.LoadDType(id), "@host", /*on_device=*/false);
    b_.Free(raw);
  }

  TorchLoader& loader_;
  ScheduleBuilder& b_;
  const LoadMode mode_;
  const bool one_by_one_;                              // else a shard is read before any of it is put
  const bool parks_;                                   // in the offload folder, what is not for a GPU
  std::vector<BufferId> read_;                         // by TensorId
  std::vector<BufferId> drop_;                         // with the shard
  std::vector<std::pair<TensorId, BufferId>> parked_;  // until all shards are done
};

}  // namespace

void LoadByShard(TorchLoader& loader, LoadMode mode) { ShardLoad(loader, mode).Run(); }

}  // namespace stowage
