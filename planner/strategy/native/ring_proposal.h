// What the ring strategy can propose: tensor by tensor and phase by phase resident, streamed or computed by the host,
// and where the caches are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "planner/solve/spread.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {

// What of a decode pass the host's cores compute. In the prefill they compute the same matrices where that is quicker
// than bringing them to the device, else those are streamed.
struct HostShare {
  int percent = 0;       // of the matrices' bytes, without experts: whole matrices, evenly spread
  bool experts = false;  // the routed experts of as many layers as the device has no room for
  bool caches = false;   // attention, with all caches in host memory; in the prefill too
  friend bool operator==(const HostShare&, const HostShare&) = default;
};

struct RingParameters {
  Bytes ring;
  Grain grain = Grain::kTensors;
  HostShare host;
  friend bool operator==(const RingParameters&, const RingParameters&) = default;
};

inline constexpr Bytes kSmallestRing{64 << 10};

// What may leave the device: matrices of linear kernels, and tables that are only gathered from.
struct Movable {
  std::vector<TensorId> matrices;  // in order of use, without those of experts
  std::vector<TensorId> experts;
  std::vector<TensorId> tables;
  Bytes dense_bytes, matrix_bytes, table_bytes;  // matrices: of all kinds
  Bytes fixed;                                   // weights that always stay
  Bytes widest_tile;                             // the largest piece that cannot be cut
  Bytes largest;                                 // matrix of a layer, not of the head
};

// A task as the ring sees it. `task` outlives it.
class Ring {
 public:
  static Result<Ring> Of(const PlanningTask& task);

  const NativeModel& native() const { return *native_; }
  const Movable& movable() const { return movable_; }
  Bytes least() const { return least_; }  // ring
  // Of gpu0, with nothing on the host but what streams.
  Bytes SmallestBudget() const { return fixed_ + std::min(least_, movable_.matrix_bytes + movable_.table_bytes); }
  Bytes ResidentBudget() const { return fixed_ + movable_.matrix_bytes + movable_.table_bytes; }
  Bytes BudgetForMatrices() const { return budget() - fixed_; }
  bool NothingStreams() const { return ResidentBudget() <= budget(); }

  // kInfeasible where the ring cannot hold two pieces of what cannot be cut, or gpu0 not even that.
  Result<NativeProposal> Propose(const RingParameters& p) const;
  // Likewise, and where the result does not fit.
  Result<NativeProposal> Feasible(const RingParameters& p) const;

  // A guess that is too slow rather than too quick, of a ring without the host's help: no copy hidden behind anything.
  Seconds SlowestRequest() const;
  // Likewise with the experts that the device has no room for on the host, in decode passes.
  Seconds SlowestWithExpertsOnHost() const;
  // No request is quicker that keeps `resident` bytes of the matrices on the device and streams the others.
  Seconds StreamingBound(Bytes resident) const;

  // Ring sizes worth simulating.
  std::vector<RingParameters> Sizes() const;
  // What the host might compute, guessed from the rates of link, device and host; none where it would not help.
  std::vector<RingParameters> HostShares() const;

 private:
  Ring(const PlanningTask& task, std::shared_ptr<const NativeModel> native);
  Bytes budget() const { return task_.machine->pools[task_.machine->FindPool("gpu0")].budget; }
  Result<NativeProposal> OnDevice(const RingParameters& p) const;
  Result<NativeProposal> Shared(const RingParameters& p) const;
  void Spread(const std::vector<TensorId>& matrices, Bytes budget, Grain grain, NativeProposal& out) const;
  void SpreadDense(const std::vector<TensorId>& matrices, Bytes budget, Grain grain, NativeProposal& out) const;
  // Tables leave first. What is left of `left` for matrices that have `wanted` in all.
  Bytes PlaceTables(Bytes left, Bytes wanted, NativeProposal& out) const;
  std::vector<bool> Chosen(int percent) const;
  std::vector<bool> ExpertsOnHost(Bytes room) const;
  void SetSides(const std::vector<bool>& of_host, bool caches, NativeProposal& out) const;
  struct Shares {
    int balanced = 0;  // link and host are done at the same time
    int all = 0;       // nothing streams in decode passes
  };
  Shares SharesOf(bool caches) const;

  const PlanningTask& task_;
  std::shared_ptr<const NativeModel> native_;
  Movable movable_;
  Bytes fixed_;  // of gpu0, whatever is proposed without the host
  Bytes least_;  // ring
};

}  // namespace stowage
