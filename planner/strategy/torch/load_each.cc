// One tensor after the other: read into host memory, cast where its file holds another dtype, copied to its GPU.
#include "planner/strategy/torch/torch_load.h"

namespace stowage {
namespace {

BufferId ReadToHost(TorchLoader& loader, TensorId id) {
  ScheduleBuilder& b = loader.b();
  const DType stored = FileDType(loader.tensor(id)), wanted = loader.LoadDType(id);
  const bool casts = stored != wanted;
  const BufferId file = loader.FileOf(id);
  const BufferId raw = loader.NewBuffer(id, loader.lanes().host, casts ? "@file" : "@host",
                                        casts ? BufferKind::kStaging : BufferKind::kWeights, stored);
  loader.Read(file, raw);
  if (!casts) return raw;
  const BufferId cast = loader.Cast(id, raw, stored, wanted, "@host", /*on_device=*/false);
  b.Free(raw);
  return cast;
}

}  // namespace

void LoadEach(TorchLoader& loader) {
  TorchWeights& weights = loader.weights();
  loader.WarmUp();
  for (const TensorId id : loader.parameters()) {
    if (loader.HomeOf(id) == WeightHome::kDisk) {
      weights.file[id] = loader.FileOf(id);
      continue;
    }
    weights.host[id] = ReadToHost(loader, id);
    if (loader.HomeOf(id) != WeightHome::kDevice) continue;
    weights.device[id] = loader.CopyToDevice(id, weights.host[id], loader.LoadDType(id));
    loader.b().Free(weights.host[id]);
  }
}

}  // namespace stowage
