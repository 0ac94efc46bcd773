#include "sim/engine/random_schedule.h"

#include <string>
#include <vector>

namespace stowage {
namespace {

// splitmix64: the same numbers everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int Below(int n) { return static_cast<int>(Next() % static_cast<std::uint64_t>(n)); }
  bool Chance(int percent) { return Below(100) < percent; }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

class Writer {
 public:
  Writer(std::uint64_t seed, const RandomOptions& options) : dice_(seed), options_(options) {}

  ToySchedule Write() {
    b_.dispatch.native_launch = Seconds(dice_.Chance(50) ? 0 : Duration());
    issuers_ = 1 + dice_.Below(3);
    queues_ = issuers_ + dice_.Below(4);
    if (options_.share) b_.shared = {"r0", "r1"};
    const int phases = 1 + dice_.Below(3);
    for (int p = 0; p < phases; ++p) {
      b_.Phase("phase" + std::to_string(p), dice_.Below(5), dice_.Chance(20));
      body_ = static_cast<StepId>(b_.schedule.steps.size());
      AddSteps(1 + dice_.Below(9));
      AddBackReferences();
      if (!dice_.Chance(50)) continue;
      b_.Epilogue();
      AddSteps(1 + dice_.Below(4));
    }
    return std::move(b_);
  }

 private:
  double Duration() { return options_.share ? dice_.Unit() : dice_.Below(4) * 0.5; }

  std::string Queue(int q) const { return "q" + std::to_string(q); }

  // What a section allocates it frees: a body runs several times.
  void AddSteps(int count) {
    std::vector<BufferId> open;
    for (int i = 0; i < count; ++i) {
      AddMemory(open);
      const auto steps = static_cast<StepId>(b_.schedule.steps.size());
      const int queue = dice_.Below(queues_);
      b_.issuer = options_.compete ? dice_.Below(issuers_) : queue % issuers_;
      if (steps > 0 && dice_.Chance(15)) {
        b_.Wait(dice_.Below(steps));
      } else if (options_.reduce && queues_ >= 2 && dice_.Chance(4)) {
        AddReduce();
      } else {
        AddJob(queue);
      }
    }
    b_.issuer = 0;
    for (const BufferId buffer : open) b_.Act(StepKind::kFree, buffer);
  }

  void AddMemory(std::vector<BufferId>& open) {
    b_.issuer = 0;
    if (dice_.Chance(15)) {
      if (b_.schedule.pools.empty()) b_.Pool("gpu0", Bytes(0));
      open.push_back(b_.AddBuffer({.pool = 0, .bytes = AffineBytes(1 + dice_.Below(9), dice_.Below(3))}));
      b_.Act(StepKind::kAllocate, open.back());
    }
    if (!open.empty() && dice_.Chance(15)) {
      b_.Act(StepKind::kFree, open.back());
      open.pop_back();
    }
  }

  void AddJob(int queue) {
    const auto steps = static_cast<StepId>(b_.schedule.steps.size());
    static constexpr StepKind kKinds[] = {StepKind::kCopy, StepKind::kCompute, StepKind::kRead};
    const StepId id = b_.Job(kKinds[dice_.Below(3)], dice_.Chance(5) ? "" : Queue(queue), {}, Duration());
    Step& step = b_.At(id);
    AddResources(step, queue);
    while (steps > 0 && dice_.Chance(40)) step.after.push_back({dice_.Below(steps)});
    step.blocking = dice_.Chance(15);
  }

  void AddResources(Step& step, int queue) {
    if (!options_.compete) {  // a queue's own; the shared ones are only for competition
      if (step.queue >= 0) step.resources[0] = Resource("own" + std::to_string(queue));
      return;
    }
    for (int i = 0; i < 3; ++i) {
      if (!dice_.Chance(50)) continue;
      const auto r = Resource("r" + std::to_string(dice_.Below(4)));
      if (r != step.resources[0] && r != step.resources[1]) step.resources[static_cast<std::size_t>(i)] = r;
    }
  }

  std::int16_t Resource(const std::string& name) {
    return static_cast<std::int16_t>(IndexOf(b_.schedule.resources, name));
  }

  void AddReduce() {
    ++group_;
    for (int q = 0; q < queues_; ++q) {
      b_.issuer = options_.compete ? dice_.Below(issuers_) : q % issuers_;
      const StepId id = b_.Job(StepKind::kReduce, Queue(q), {}, Duration());
      b_.At(id).group = group_;
      AddResources(b_.At(id), q);
      if (options_.compete && dice_.Chance(30)) AddJob(dice_.Below(queues_));  // between the ranks; may get stuck
    }
  }

  void AddBackReferences() {
    const auto end = static_cast<StepId>(b_.schedule.steps.size());
    for (StepId s = body_; s < end; ++s) {
      const StepRef back{body_ + dice_.Below(end - body_), 1};
      if (b_.At(s).kind == StepKind::kWait) {
        if (dice_.Chance(30)) b_.At(s).target = back;
      } else if (b_.At(s).buffer < 0 && dice_.Chance(30)) {
        b_.At(s).after.push_back(back);
      }
    }
  }

  Dice dice_;
  RandomOptions options_;
  ToySchedule b_;
  int issuers_ = 1;
  int queues_ = 1;
  std::int32_t group_ = 0;
  StepId body_ = 0;
};

}  // namespace

ToySchedule RandomSchedule(std::uint64_t seed, const RandomOptions& options) { return Writer(seed, options).Write(); }

}  // namespace stowage
