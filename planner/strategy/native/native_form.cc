#include "planner/strategy/native/native_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "planner/strategy/native/clocks.h"
#include "planner/strategy/native/lower.h"
#include "planner/strategy/native/unit_kernels.h"

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;
constexpr std::int64_t kSampled = 3;  // decode passes, of which the first one starts from what the prefill left

// One program of a proposal with what each launch takes.
struct Side {
  const NativeProgram& program;
  const std::vector<bool>& on_host;
  const Crossings& crossings;
  PassUnits units;
  std::vector<Seconds> seconds = {};  // by unit

  bool OfHost(std::int32_t kernel) const { return OnHost(on_host, kernel); }
};

class Run {
 public:
  Run(const NativeCase& c, const HostRing& host_ring)
      : c_(c),
        durations_(*c.task.machine),
        slot_(host_ring.slot),
        ring_(c.proposal.ring.value()),
        host_slots_(host_ring.slots) {}

  void Price(Side& side, std::int64_t iteration) const {
    UnitKernels kernels(&c_.model(), &c_.proposal, &c_.layout);
    for (const Unit& unit : side.units.units) {
      const NativeKernel& whole = side.program.kernels[unit.kernel];
      side.seconds.push_back(side.OfHost(unit.kernel)
                                 ? durations_.Compute(whole.kernel, iteration, "host.cores")
                                 : durations_.Compute(kernels.Of(whole, unit)->kernel, iteration, "gpu0.sm"));
    }
  }

  // The prompt to where it is embedded.
  void Begin(const Side& prefill) {
    const std::vector<NativeKernel>& kernels = prefill.program.kernels;
    const auto at = std::find_if(kernels.begin(), kernels.end(),
                                 [](const NativeKernel& k) { return k.kernel.kind == KernelKind::kEmbedding; });
    if (at == kernels.end() || prefill.OfHost(static_cast<std::int32_t>(at - kernels.begin()))) return;
    const Request& r = c_.task.request;
    Cross(Bytes(r.prompt_tokens * r.batch * kIdBytes), "gpu0.h2d");
  }

  void Pass(const Side& side) {
    std::int32_t entered = -1;
    for (std::size_t u = 0; u < side.units.units.size(); ++u) {
      const Unit& unit = side.units.units[u];
      const bool host = side.OfHost(unit.kernel);
      if (unit.kernel != entered) Enter(side, unit.kernel);
      entered = unit.kernel;
      Seconds start = std::max(issued_ += durations_.launch(), chain_);
      if (unit.item >= 0) start = std::max(start, Bring(side.units.items[unit.item]));
      chain_ = start + side.seconds[u];
      busy_[host ? "host.cores" : "gpu0.sm"] += side.seconds[u];
      if (unit.item >= 0) ring_.Consumed(side.units.items[unit.item].bytes.value(), chain_);
      if (!host && side.program.kernels[unit.kernel].kernel.kind == KernelKind::kArgmax) HandIdsToHost();
    }
  }

  void FetchTokens() {
    if (!c_.layout.ids_on_host) Cross(c_.layout.tokens, "gpu0.d2h");
  }

  // Copies that the ring has room for after a pass, and which count as part of it.
  Seconds Ahead(const Side& next) const {
    Run copy = *this;
    Seconds end;
    Bytes sum;
    for (const StreamItem& item : next.units.items) {
      if ((sum += item.bytes) > c_.proposal.ring) break;
      end = copy.Bring(item);
    }
    return end;
  }

  Seconds now() const { return std::max(chain_, issued_); }
  BusyTimes TakeBusy() { return std::exchange(busy_, {}); }

 private:
  // What crosses; and the issuer waits for the host before anything of the device.
  void Enter(const Side& side, std::int32_t kernel) {
    const bool host = side.OfHost(kernel);
    if (last_on_host_ && !host) issued_ = std::max(issued_, chain_);
    last_on_host_ = host;
    if (side.crossings.empty()) return;
    for (const Crossing& c : side.crossings[kernel]) Cross(c.bytes, host ? "gpu0.d2h" : "gpu0.h2d");
    const bool embeds = side.program.kernels[kernel].kernel.kind == KernelKind::kEmbedding;
    if (c_.layout.ids_on_host && !host && embeds && side.program.pass.past > 0) Cross(IdsBytes(), "gpu0.h2d");
  }

  void HandIdsToHost() {
    if (!c_.layout.ids_on_host) return;
    Cross(IdsBytes(), "gpu0.d2h");
    issued_ = std::max(issued_, chain_);
  }

  void Cross(Bytes bytes, const char* link) {
    const Seconds copy = durations_.Transfer(bytes, link);
    chain_ = std::max(chain_, issued_ += durations_.launch()) + copy;
    busy_[link] += copy;
  }

  Bytes IdsBytes() const { return Bytes(c_.task.request.batch * kIdBytes); }

  // When it has arrived.
  Seconds Bring(const StreamItem& item) {
    if (!c_.proposal.OnDisk(item.tensor)) return Copy(item.bytes, item.bytes.value(), Seconds(0));
    Seconds arrived;
    std::int64_t size = item.bytes.value();  // the first chunk waits for room for all of it
    for (Bytes done; done < item.bytes; done += slot_) {
      const Bytes chunk = std::min(slot_, item.bytes - done);
      const Seconds read = durations_.Transfer(chunk, "disk0");
      busy_["disk0"] += read;
      arrived = Copy(chunk, std::exchange(size, 0), host_slots_.Bring(1, Seconds(0), read));
      host_slots_.Consumed(1, arrived);
    }
    return arrived;
  }

  Seconds Copy(Bytes bytes, std::int64_t size, Seconds ready) {
    const Seconds copy = durations_.Transfer(bytes, "gpu0.h2d");
    busy_["gpu0.h2d"] += copy;
    issued_ += durations_.launch();
    return ring_.Bring(size, ready, copy);
  }

  const NativeCase& c_;
  const Durations durations_;
  const Bytes slot_;
  PieceClock ring_, host_slots_;
  Seconds issued_, chain_;
  bool last_on_host_ = false;
  BusyTimes busy_;
};

void FillTimes(const NativeCase& c, const HostRing& host_ring, ClosedForm& out) {
  const NativeProposal& p = c.proposal;
  const std::int64_t passes = c.task.request.DecodePasses();
  Side prefill{c.native.prefill, p.prefill_on_host, c.layout.prefill_crossings,
               UnitsOf(c.native.prefill, p.prefill_on_host, c.native, c.model(), p)};
  Side decode{c.native.decode, p.decode_on_host, c.layout.decode_crossings,
              UnitsOf(c.native.decode, p.decode_on_host, c.native, c.model(), p)};
  Run run(c, host_ring);
  run.Price(prefill, 0);
  run.Begin(prefill);
  run.Pass(prefill);
  if (passes == 0) run.FetchTokens();
  out.first_token = std::max(run.now(), run.Ahead(decode));
  out.limit = LimitOf(run.TakeBusy(), out.first_token);
  if (passes == 0) return;
  run.Price(decode, passes - 1);
  run.Pass(decode);
  const std::int64_t sampled = std::min(passes, kSampled);
  Seconds begin = sampled > 1 ? run.now() : out.first_token;
  if (sampled > 1) run.TakeBusy();
  for (std::int64_t i = 1; i < sampled; ++i) run.Pass(decode);
  const Seconds length = run.now() - begin;
  out.per_token = length / static_cast<double>(std::max<std::int64_t>(1, sampled - 1));
  out.limit = LimitOf(run.TakeBusy(), length);
}

}  // namespace

Result<ClosedForm> FormOf(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const NativeLayout layout = LayOut(native, task, proposal);
  const NativeCase c{native, task, proposal, layout};
  STOWAGE_TRY(const Needs needs, NeedsOf(c));
  ClosedForm out;
  if (Status fits = CheckNeeds(needs, *task.machine, proposal.strategy); !fits) {
    out.peak = {{"gpu0", needs.gpu}, {"host", needs.host}};
    out.why_not = fits.error().message;
    return out;
  }
  const HostStreams streams = HostStreamsOf(c);
  const Bytes host = HostArenas(layout) + streams.ring.total() + streams.staging.total();
  out.peak = {{"gpu0", needs.gpu}, {"host", host + task.machine->Reserved("host")}};
  FillTimes(c, streams.ring, out);
  return out;
}

}  // namespace stowage
