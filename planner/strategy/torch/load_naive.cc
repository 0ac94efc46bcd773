// The model's constructor makes every weight with random numbers in host memory; torch.load reads the whole state dict
// beside it, as the files have it; load_state_dict copies it tensor by tensor; model.to(device, dtype) moves each
// weight, converted on the host, where a blocking copy converts.
//
//   host   |init, growing |+ state dict      |copied |model, shrinking to what stays
//
// Weights for the disk are written to the offload folder first, all of them; then they are let go, once the hooks are
// attached (dispatch_model).
//
// The peak is the model in the load dtype plus the checkpoint. (Measured with torch 2.15: reports/measured/loading.json.)
#include <utility>

#include "planner/strategy/torch/torch_load.h"

namespace stowage {
namespace {

// torch's generator of normal numbers is serial: 4 to 8 ns a number on one core, so much work at 100 GFLOPS.
constexpr double kRandomNumberFlops = 800;

class NaiveLoad {
 public:
  explicit NaiveLoad(TorchLoader& loader)
      : loader_(loader), model_(loader.weights().host.size(), -1), read_(loader.weights().host.size(), -1) {}

  void Run() {
    for (const TensorId id : loader_.parameters()) Construct(id);
    for (const TensorId id : loader_.parameters()) {
      const BufferId file = loader_.FileOf(id);
      read_[id] = loader_.NewBuffer(id, loader_.lanes().host, "@state_dict", BufferKind::kStaging, Stored(id));
      loader_.Read(file, read_[id]);
    }
    for (const TensorId id : loader_.parameters()) {
      loader_.HostKernel("load_state_dict " + loader_.tensor(id).name,
                         loader_.BytesIn(id, Stored(id)) + loader_.BytesIn(id, Wanted(id)),
                         {loader_.b().Whole(read_[id])}, model_[id]);
    }
    for (const TensorId id : loader_.parameters()) loader_.b().Free(read_[id]);
    if (loader_.UsesFolder()) Offload();
    for (const TensorId id : loader_.parameters()) {
      if (!OnDisk(id)) Move(id);
    }
    for (const TensorId id : loader_.parameters()) {
      if (OnDisk(id)) loader_.b().Free(model_[id]);
    }
  }

 private:
  DType Stored(TensorId id) const { return FileDType(loader_.tensor(id)); }
  bool OnDevice(TensorId id) const { return loader_.HomeOf(id) == WeightHome::kDevice; }
  bool OnDisk(TensorId id) const { return loader_.HomeOf(id) == WeightHome::kDisk; }
  DType Wanted(TensorId id) const { return loader_.LoadDType(id); }

  void Construct(TensorId id) {
    model_[id] = loader_.NewBuffer(id, loader_.lanes().host, "@host", BufferKind::kWeights, Wanted(id));
    const auto numbers = static_cast<double>(Elements(loader_.tensor(id).shape));
    loader_.HostKernel("init " + loader_.tensor(id).name, loader_.BytesIn(id, Wanted(id)), {}, model_[id],
                       numbers * kRandomNumberFlops);
  }

  void Offload() {
    for (const TensorId id : loader_.parameters()) {
      if (!OnDisk(id)) continue;
      const DType computed = loader_.tensor(id).dtype;
      if (Wanted(id) != computed) {
        const BufferId cast = loader_.Cast(id, model_[id], Wanted(id), computed, "@host", /*on_device=*/false);
        loader_.b().Free(std::exchange(model_[id], cast));
      }
      loader_.weights().file[id] = loader_.WriteToFolder(id, model_[id], computed);
    }
  }

  void Move(TensorId id) {
    ScheduleBuilder& b = loader_.b();
    const DType computed = loader_.tensor(id).dtype;
    BufferId from = model_[id];
    if (Wanted(id) != computed)
      from = loader_.Cast(id, from, Wanted(id), computed, OnDevice(id) ? "@cast" : "@host", /*on_device=*/false);
    loader_.weights().host[id] = from;
    if (OnDevice(id)) {
      loader_.weights().device[id] = loader_.CopyToDevice(id, from, computed);
      b.Free(from);
    }
    if (from != model_[id]) b.Free(model_[id]);
  }

  TorchLoader& loader_;
  std::vector<BufferId> model_, read_;  // by TensorId
};

}  // namespace

void LoadNaive(TorchLoader& loader) { NaiveLoad(loader).Run(); }

}  // namespace stowage
