// The load phase of a torch program: weights from the checkpoint's files to where a placement wants them, and what
// attaching its hooks does. Internal to planner/strategy/torch.
//
// How they get there is Request::loading, one file a way:
//
//   load_each.cc       not said: one tensor after the other through host memory, the least that any of them needs
//   load_naive.cc      naive
//   load_by_shard.cc   by-shard:4, by-shard:accelerate, by-shard:bin
//   load_parallel.cc   by-shard:5
//
// Files that are mapped are in the pool "page cache" while a process maps what it has touched of them. That pool has no
// budget: the system takes such pages back when it needs the memory, and reads them again. Weights that stay on the host
// as the file has them are views of it, so they are there, too.
//
// accelerate keeps what is mapped to "disk" in files of its own, in the pool "offload folder", which has the disk's
// budget: numpy's memmap, flushed, so written to the disk at once; here as fast as the disk reads. transformers reads its
// checkpoint again instead.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/strategy.h"
#include "planner/strategy/torch/torch_lowering.h"
#include "planner/strategy/torch/torch_pass.h"

namespace stowage {

// Of a tensor in its file; its own without a file.
DType FileDType(const Tensor& tensor);

// Files without a checkpoint are cut where transformers 4's save_pretrained cuts them.
inline constexpr Bytes kShardSize{5'000'000'000};

// What the ways to load share: the steps that they are made of. All it is given must outlive it.
class TorchLoader {
 public:
  // `held` is the task's model as transformers holds it; `placement` is of its tensors.
  TorchLoader(ScheduleBuilder& b, const PlanningTask& task, const Model& held, const TorchPlacement& placement,
              const TorchLanes& lanes);

  const std::vector<TensorId>& parameters() const { return parameters_; }  // with storage of their own
  const Tensor& tensor(TensorId id) const { return model_.tensors[id]; }
  WeightHome HomeOf(TensorId id) const;
  const TorchGpu& GpuOf(TensorId id) const { return lanes_->gpus[placement_.GpuOf(id)]; }
  DType LoadDType(TensorId id) const;  // what it is loaded in
  Bytes BytesIn(TensorId id, DType dtype) const { return SizeOf(dtype, Elements(tensor(id).shape)); }

  // The parameters by file, each file's in the order of the checkpoint.
  std::vector<std::vector<TensorId>> Shards() const;

  // The pool of mapped files, made when first asked for.
  std::int32_t PageCache();
  bool UsesFolder() const;  // a placement with weights on the disk
  // The file of a weight in the offload folder, made and written from `from`; blocking.
  BufferId WriteToFolder(TensorId id, BufferId from, DType dtype);
  // To or from such a file, whose pages are mapped for so long; blocking.
  void CopyMapped(TensorId id, BufferId from, BufferId to, DType dtype);
  // transformers' caching_allocator_warmup, on every GPU that weights are loaded on.
  void WarmUp();

  BufferId FileOf(TensorId id);
  // Allocates; the name is the tensor's with `suffix`.
  BufferId NewBuffer(TensorId id, std::int32_t pool, std::string_view suffix, BufferKind kind, DType dtype);
  void Read(BufferId file, BufferId to);  // blocking
  // Into a new buffer beside `from`; blocking.
  BufferId Cast(TensorId id, BufferId from, DType from_dtype, DType to, std::string_view suffix, bool on_device);
  void HostKernel(std::string name, Bytes bytes, std::vector<Slice> reads, BufferId to, double flops = 0);
  // A blocking pageable copy to a new buffer on its GPU.
  BufferId CopyToDevice(TensorId id, BufferId from, DType dtype, std::string_view suffix = "");

  ScheduleBuilder& b() { return b_; }
  const TorchLanes& lanes() const { return *lanes_; }
  void UseLanes(const TorchLanes& lanes) { lanes_ = &lanes; }  // of the steps that follow; must outlive this
  TorchWeights& weights() { return weights_; }

  // model.to(dtype) where a weight is: what is loaded in another dtype than it is computed with.
  void ConvertInPlace();
  // Tensors in no checkpoint, and the hooks.
  Status Attach();
  TorchWeights Take() && { return std::move(weights_); }

 private:
  ScheduleBuilder& b_;
  const PlanningTask& task_;
  const Model& model_;
  const TorchPlacement& placement_;
  const TorchLanes* lanes_;
  TorchWeights weights_;
  std::vector<TensorId> parameters_, buffers_;
  std::int32_t page_cache_ = -1, folder_ = -1;
};

// The ways. Each leaves every parameter in weights(): on its device, on the host, or in a file, in LoadDType(); naive
// in the dtype that is computed with.
void LoadEach(TorchLoader& loader);
void LoadNaive(TorchLoader& loader);
void LoadByShard(TorchLoader& loader, LoadMode mode);
void LoadParallel(TorchLoader& loader, const Model& checkpoint);

// Emits the steps into the builder's open section.
Result<TorchWeights> LoadTorch(ScheduleBuilder& b, const PlanningTask& task, const Model& held,
                               const TorchPlacement& placement, const TorchLanes& lanes);

}  // namespace stowage
