#include "planner/strategy/native/lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "planner/base/text.h"
#include "planner/strategy/native/describe.h"
#include "planner/strategy/native/passes.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {

Bytes HostArenas(const NativeLayout& l) { return l.masters + l.host_kv + l.host_activations + l.host_buffers; }

// The host ring takes what the arenas and the least staging leave; staging then what it leaves.
HostStreams HostStreamsOf(const NativeCase& c) {
  const Machine& m = *c.task.machine;
  const Bytes left = m.pools[m.FindPool("host")].budget - m.Reserved("host") - HostArenas(c.layout);
  const std::vector<LoadItem> items = LoadItemsOf(c.native, c.proposal, c.layout);
  HostStreams out;
  out.ring = HostRingFor(c.native, c.proposal, left - StagingFor(c.model(), items, Bytes(0)).total());
  out.staging = StagingFor(c.model(), items, left - out.ring.total());
  return out;
}

namespace {

// Builds the schedule of one proposal: arenas, load, prefill, decode.
class Lowering {
 public:
  explicit Lowering(const NativeCase& c)
      : c_(c),
        b_(fmt::format("{} {}", c.proposal.strategy, c.model().name)),
        streams_(HostStreamsOf(c)),
        prefill_units_(UnitsOf(c.native.prefill, c.proposal.prefill_on_host, c.native, c.model(), c.proposal)),
        decode_units_(UnitsOf(c.native.decode, c.proposal.decode_on_host, c.native, c.model(), c.proposal)) {}

  Result<Schedule> Run() {
    AddMachine();
    NativeBuffers buffers = AddBuffers(b_, c_, pools_);
    const RingOffsets offsets = Offsets();
    AddRing(b_, c_, pools_, prefill_units_.items, decode_units_.items, offsets, buffers);
    std::optional<DiskFeed> disk = AddDiskFeed(buffers);
    EmitLoadPhase(buffers);
    STOWAGE_TRY(const PassLoop loop,
                FindLoop(prefill_units_, decode_units_, offsets, c_.proposal.ring, c_.task.LoweredPasses()));
    PassEmitter(&b_, &c_, &buffers, &lanes_, &prefill_units_, &decode_units_, disk ? &*disk : nullptr).Run(loop);
    return std::move(b_).Take();
  }

 private:
  void AddMachine() {
    const Machine& m = *c_.task.machine;
    const auto budget = [&](std::string_view pool) { return m.pools[m.FindPool(pool)].budget - m.Reserved(pool); };
    pools_.gpu = b_.AddPool("gpu0", Allocator::kArena, budget("gpu0"));
    pools_.host = b_.AddPool("host", Allocator::kPageable, budget("host"));
    pools_.disk = b_.AddPool("disk", Allocator::kPageable, Bytes(0));
    const auto lane = [&](const char* queue, const char* resource) {
      return Lane{b_.AddQueue(queue), {b_.AddResource(resource)}};
    };
    lanes_.compute = lane("gpu0/compute", "gpu0.sm");
    lanes_.in = lane("gpu0/in", "gpu0.h2d");
    // What crosses must not queue behind the ring's copies, which are issued far ahead.
    const bool crosses = !c_.layout.prefill_crossings.empty() || !c_.layout.decode_crossings.empty();
    lanes_.cross = crosses && c_.proposal.ring > Bytes(0) ? lane("gpu0/cross", "gpu0.h2d") : lanes_.in;
    lanes_.out = lane("gpu0/out", "gpu0.d2h");
    lanes_.disk = lane("disk0/0", "disk0");
    lanes_.cpu = lane("cpu/0", "host.cores");
    main_ = b_.AddIssuer("main", IssuerKind::kNative);
    for (const std::string& file : c_.model().files) b_.AddFile(file);
    if (c_.model().files.empty()) b_.AddFile(c_.model().name + " (no checkpoint)");
  }

  std::optional<DiskFeed> AddDiskFeed(NativeBuffers& buffers) {
    const HostRing& size = streams_.ring;
    if (size.slots == 0) return std::nullopt;
    const BufferId ring = b_.AddBuffer(pools_.host, "host_ring", BufferKind::kStaging, size.total());
    b_.buffer(ring).pinned = true;
    buffers.arenas.push_back(ring);
    const Lane read = {b_.AddQueue("disk0/ring"), lanes_.disk.resources};
    const Lane in = {b_.AddQueue("gpu0/ring"), lanes_.in.resources};
    const std::int32_t reader = b_.AddIssuer("reader", IssuerKind::kNative);
    b_.UseIssuer(main_);
    return DiskFeed(&b_, &c_.model(), {read, in, reader, main_, pools_.disk}, ring, size);
  }

  RingOffsets Offsets() const { return PlaceInRing(prefill_units_.items, decode_units_.items, c_.proposal.ring); }

  void EmitLoadPhase(const NativeBuffers& buffers) {
    const StagingSize& size = streams_.staging;
    BufferId staging = -1;
    if (size.slots > 0) {
      staging = b_.AddBuffer(pools_.host, "staging", BufferKind::kStaging, size.total());
      b_.buffer(staging).pinned = true;
    }
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    for (const BufferId arena : buffers.arenas) b_.Allocate(arena);
    if (staging >= 0) b_.Allocate(staging);
    if (c_.task.last_decode_passes == 0) {
      StepId table_copied = -1;
      for (std::size_t t = 0; t < buffers.computed.size(); ++t) {
        if (buffers.computed[t] < 0 || buffers.resident[t] < 0) continue;
        table_copied = b_.Copy(lanes_.in, b_.Whole(buffers.computed[t]), b_.Whole(buffers.resident[t]));
      }
      const Lane read = {lanes_.disk.queue, {b_.AddResource(LoadsFrom(c_.task.request.loading))}};
      const std::vector<LoadItem> items = LoadItemsOf(c_.native, c_.proposal, c_.layout);
      EmitLoad(b_, c_.model(), items, {buffers.resident, buffers.master}, {read, lanes_.cpu, {lanes_.in}}, pools_.disk,
               staging, size);
      if (table_copied >= 0) b_.Wait({table_copied});
    }
    if (staging >= 0) b_.Free(staging);
  }

  const NativeCase& c_;
  ScheduleBuilder b_;
  const HostStreams streams_;
  const PassUnits prefill_units_;
  const PassUnits decode_units_;
  NativePools pools_;
  NativeLanes lanes_;
  std::int32_t main_ = -1;  // issuer
};

Status CheckRows(const NativeCase& c) {
  const bool host = !c.layout.prefill_crossings.empty() || !c.layout.decode_crossings.empty();
  const Readers readers = host ? ReadersOf(c.native, c.proposal, c.model().tensors.size()) : Readers{};
  for (const TensorId t : c.native.used) {
    const Tensor& tensor = c.model().tensors[t];
    const std::int64_t rows = c.native.rows[t], resident = c.proposal.resident_rows[t];
    const bool may_leave = c.native.multiplied[t] || c.native.gathered[t] || (host && !readers.device[t]);
    if (resident < 0 || resident > rows || (resident < rows && !may_leave)) {
      return Error{ErrorCode::kInternal,
                   fmt::format("tensor '{}' cannot have {} of its {} rows resident", tensor.name, resident, rows)};
    }
  }
  return OkStatus();
}

Bytes HostNeed(const NativeCase& c) {
  return HostArenas(c.layout) + HostRingFor(c.native, c.proposal, Bytes(0)).total() +
         LeastStaging(c.native, c.proposal, c.layout) + c.task.machine->Reserved("host");
}

}  // namespace

Result<Needs> NeedsOf(const NativeCase& c) {
  STOWAGE_RETURN_IF_ERROR(CheckRows(c));
  const NativeLayout& l = c.layout;
  const Bytes gpu = l.weights + l.kv + l.activations + l.device_tokens + c.proposal.ring;
  return Needs{gpu + c.task.machine->Reserved("gpu0"), HostNeed(c), l.masters};
}

Result<Needs> NeedsOf(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const NativeLayout layout = LayOut(native, task, proposal);
  return NeedsOf(NativeCase{native, task, proposal, layout});
}

Status CheckNeeds(const Needs& needs, const Machine& machine, std::string_view strategy) {
  const Pool& gpu = machine.pools[machine.FindPool("gpu0")];
  const Pool& host = machine.pools[machine.FindPool("host")];
  if (needs.gpu > gpu.budget) {
    return Error{ErrorCode::kInfeasible, fmt::format("{} needs {} of gpu0, whose budget is {}", strategy,
                                                     FormatBytes(needs.gpu), FormatBytes(gpu.budget))};
  }
  const Bytes limit = std::min(host.budget, host.pinned_limit.value_or(host.budget));
  if (needs.host <= limit) return OkStatus();
  return Error{ErrorCode::kInfeasible,
               fmt::format("{} needs {} of host ({} for weights), whose {} is {}", strategy, FormatBytes(needs.host),
                           FormatBytes(needs.host_weights), limit < host.budget ? "limit of pinned memory" : "budget",
                           FormatBytes(limit))};
}

Status CheckFits(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  STOWAGE_TRY(const Needs needs, NeedsOf(native, task, proposal));
  return CheckNeeds(needs, *task.machine, proposal.strategy);
}

Bytes HostBudgetFor(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const NativeLayout layout = LayOut(native, task, proposal);
  return HostNeed({native, task, proposal, layout});
}

Result<Lowered> LowerNative(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const NativeLayout layout = LayOut(native, task, proposal);
  const NativeCase c{native, task, proposal, layout};
  STOWAGE_TRY(const Needs needs, NeedsOf(c));
  STOWAGE_RETURN_IF_ERROR(CheckNeeds(needs, *task.machine, proposal.strategy));
  STOWAGE_TRY(Schedule schedule, Lowering(c).Run());
  return Lowered{DescribePlan(native, task, proposal, layout, schedule), std::move(schedule)};
}

}  // namespace stowage
