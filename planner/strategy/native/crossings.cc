// What PassEmitter adds where kernels are computed by the host: copies of what crosses, and waits.
//
// A device's stream cannot wait for work of a host thread, so the issuer does before anything of the device that comes
// after it in the chain.
#include <algorithm>

#include "planner/strategy/native/passes.h"

namespace stowage {

// The prompt to where the ids are read. Returns the copy that the first launch waits for, or -1. An encoder may read them
// on one side and the decoder on the other.
StepId PassEmitter::GiveTokens() {
  const std::vector<NativeKernel>& kernels = prefill_.program->kernels;
  bool any = false, on_device = false;
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    if (kernels[k].kernel.kind != KernelKind::kEmbedding) continue;
    any = true;
    on_device = on_device || !prefill_.OnHost(static_cast<std::int32_t>(k));
  }
  if (!any) return -1;
  const AffineBytes bytes = b_.so_far().buffers[buffers_.prompt].bytes;
  StepId given = -1;
  if (c_.layout.ids_on_host) {
    given = b_.Copy(lanes_.cpu, b_.Whole(buffers_.prompt), {buffers_.tokens_out, AffineBytes(0), bytes});
  }
  if (!on_device) return given;
  const StepId copied = b_.Copy(lanes_.in, b_.Whole(buffers_.prompt), {buffers_.tokens, AffineBytes(0), bytes});
  if (!prefill_.OnHost(0)) return copied;
  b_.Wait({copied});
  return given;
}

StepId PassEmitter::GiveInput() {
  const std::int32_t input = prefill_.program->input;
  const std::vector<NativeKernel>& kernels = prefill_.program->kernels;
  std::int32_t first = 0;
  const auto reads = [&](const Operand& o) { return o.source == Operand::Source::kActivation && o.id == input; };
  while (std::none_of(kernels[first].reads.begin(), kernels[first].reads.end(), reads)) ++first;
  const bool on_host = prefill_.OnHost(first);
  const BufferId to = (on_host ? buffers_.host_prefill : buffers_.prefill)[input];
  return b_.Copy(on_host ? lanes_.cpu : lanes_.in, b_.Whole(buffers_.input), b_.Whole(to));
}

// Before a kernel's first launch: brings what it needs from the other side, and adds what the launch waits for.
void PassEmitter::EnterKernel(std::int32_t kernel, const Side& side, Passes at, std::vector<StepRef>& after) {
  const bool on_host = side.OnHost(kernel);
  const std::size_t before = after.size();
  if (side.Crosses(kernel)) {
    for (const Crossing& c : (*side.crossings)[kernel]) {
      const AffineBytes offset(c.offset), bytes(c.bytes);
      const Slice device{(*side.activations)[c.activation], offset, bytes};
      const Slice host{(*side.host_activations)[c.activation], offset, bytes};
      after.push_back({on_host ? b_.Copy(lanes_.out, device, host, {{last_launch_}})
                               : b_.Copy(lanes_.cross, host, device, {{last_launch_}})});
    }
  }
  const NativeKernel& k = side.program->kernels[kernel];
  if (c_.layout.ids_on_host && !on_host && &side == &decode_ && k.kernel.kind == KernelKind::kEmbedding) {
    const Operand ids = AtPasses(k.reads[0], at.first, at.stride);
    after.push_back({b_.Copy(lanes_.cross, SliceOf(ids, true, side), SliceOf(ids, false, side))});
  }
  if (after.size() == before && on_host && !last_on_host_ && last_launch_ >= 0) after.push_back({last_launch_});
}

// After a kernel's last launch: tokens that the host wants, and the issuer's wait where the chain leaves the host.
void PassEmitter::LeaveKernel(std::int32_t kernel, const Side& side, Passes at) {
  const NativeKernel& k = side.program->kernels[kernel];
  if (!side.OnHost(kernel)) {
    if (!c_.layout.ids_on_host || k.kernel.kind != KernelKind::kArgmax) return;
    const Operand ids = AtPasses(k.writes[0], at.first, at.stride);
    b_.Wait({b_.Copy(lanes_.out, SliceOf(ids, false, side), SliceOf(ids, true, side), {{last_launch_}})});
    return;
  }
  const std::int32_t next = kernel + 1;
  const bool last = next == static_cast<std::int32_t>(side.program->kernels.size());
  const bool to_device = last ? c_.task.LoweredPasses() > 0 && !decode_.OnHost(0) : !side.OnHost(next);
  if (to_device || (!last && side.Crosses(next))) b_.Wait({last_launch_});
}

}  // namespace stowage
