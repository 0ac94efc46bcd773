// An empty model, one shard after the other.
//
//   by-shard:4           from_pretrained of transformers 4.57: the shard is mapped; tensor by tensor is cast on the host
//                        where the dtype is another and moved. Beside the weights: one tensor cast, the mapped shard.
//   by-shard:accelerate  load_checkpoint_in_model: all of the shard is read where it goes, mapped on the host, and stays
//                        until the shard is done, also what is cast there: a GPU holds its part of a shard twice.
//   by-shard:bin         the same of pickled files: all of the shard is in host memory, as its file has it.
//
// The last two call empty_cache after each tensor that is put on a GPU.
#include <fmt/format.h>

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
        read_(loader.weights().host.size(), -1) {}

  void Run() {
    if (one_by_one_) loader_.WarmUp();
    for (const std::vector<TensorId>& shard : loader_.Shards()) {
      for (const TensorId id : shard) {
        if (loader_.HomeOf(id) == WeightHome::kDisk) {
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
  }

 private:
  bool OnDevice(TensorId id) const { return loader_.HomeOf(id) == WeightHome::kDevice; }
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

  TorchLoader& loader_;
  ScheduleBuilder& b_;
  const LoadMode mode_;
  const bool one_by_one_;       // else a shard is read before any of it is put; nothing of it is for the disk
  std::vector<BufferId> read_;  // by TensorId
  std::vector<BufferId> drop_;  // with the shard
};

}  // namespace

Status LoadByShard(TorchLoader& loader, LoadMode mode) {
  if (mode != LoadMode::kByShard4) STOWAGE_RETURN_IF_ERROR(RefuseOffloadFolder(loader, Name(mode)));
  ShardLoad(loader, mode).Run();
  return OkStatus();
}

}  // namespace stowage
