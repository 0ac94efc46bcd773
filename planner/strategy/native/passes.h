// The prefill and decode phases of a native schedule: launches and the copies that feed them, from a folded loop.
#pragma once

#include <utility>
#include <vector>

#include "planner/strategy/native/buffers.h"
#include "planner/strategy/native/disk_feed.h"
#include "planner/strategy/native/loop.h"
#include "planner/strategy/native/unit_kernels.h"

namespace stowage {

struct NativeLanes {
  Lane compute, in, out, disk, cpu;
  Lane cross;  // activations from the host to the device: `in`, where the ring does not use that
};

class PassEmitter {
 public:
  // All of it outlives this. `disk`: nullptr when nothing comes from the disk.
  PassEmitter(ScheduleBuilder* b, const NativeCase* c, const NativeBuffers* buffers, const NativeLanes* lanes,
              const PassUnits* prefill, const PassUnits* decode, DiskFeed* disk);

  void Run(const PassLoop& loop);

 private:
  // A unit's kernel, and its index in the schedule once added; kernels of decode passes that depend on the pass are
  // added for each.
  struct Launch {
    const NativeKernel* kernel = nullptr;
    std::int32_t id = -1;
  };
  // One of the two programs with what its steps need.
  struct Side {
    const NativeProgram* program = nullptr;
    const PassUnits* units = nullptr;
    const std::vector<BufferId>* activations = nullptr;
    const std::vector<BufferId>* host_activations = nullptr;
    const std::vector<bool>* on_host = nullptr;
    const Crossings* crossings = nullptr;
    std::vector<Launch> launches = {};  // by unit

    bool OnHost(std::int32_t kernel) const { return stowage::OnHost(*on_host, static_cast<std::size_t>(kernel)); }
    bool Crosses(std::int32_t kernel) const { return !crossings->empty() && !(*crossings)[kernel].empty(); }
  };
  // Which passes of the phase a section holds: the first, and how many an iteration advances (0 outside the body).
  struct Passes {
    std::int64_t first = 0, stride = 0;
  };

  void MakeLaunches(Side& side);
  std::vector<RequiredOp> Required(const Side& side) const;
  void EmitPrefill(const PassLoop& loop);
  void EmitDecode(const PassLoop& loop);
  // `before`: a step the first launch waits for, or -1.
  void EmitSection(const PassLoop& loop, const PassLoop::Range& range, Side& side, Passes passes, StepId before);
  // Sets waits_at_ and step_of_ of the ring's step `s`.
  void EmitCopy(std::int32_t s, const RingStep& step, std::vector<StepRef> after);
  StepId EmitLaunch(const RingStep& step, std::int32_t pass, Side& side, Passes at, std::vector<StepRef> after);
  Slice SliceOf(const Operand& operand, bool on_host, const Side& side) const;
  void AddSteadyReferences(const PassLoop& loop);
  void FetchTokens();
  void FetchOutput();
  // An activation on the side of the kernel that wrote it last, and how it gets to host memory from there.
  std::pair<BufferId, const Lane*> Written(std::int32_t activation, const Side& side) const;
  // crossings.cc
  StepId GiveTokens();
  StepId GiveInput();
  void EnterKernel(std::int32_t kernel, const Side& side, Passes at, std::vector<StepRef>& after);
  void LeaveKernel(std::int32_t kernel, const Side& side, Passes at);
  // Which of the ring's sets of parts a pass uses: 0 the prefill's, then one for each pass of a group.
  std::int32_t RingPass(std::int32_t pass) const {
    return pass == 0 ? 0 : 1 + (pass - 1) % static_cast<std::int32_t>(buffers_.ring.size() - 1);
  }

  ScheduleBuilder& b_;
  const NativeCase& c_;
  const NativeBuffers& buffers_;
  const NativeLanes& lanes_;
  UnitKernels kernels_;
  Side prefill_, decode_;
  DiskFeed* disk_;
  std::vector<StepId> step_of_;   // by index into PassLoop::steps: what others wait for
  std::vector<StepId> waits_at_;  // likewise: what itself waits; two where a piece is copied in parts
  StepId last_launch_ = -1;
  bool last_on_host_ = false;
};

}  // namespace stowage
