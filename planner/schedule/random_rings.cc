#include "planner/schedule/random_rings.h"

#include <fmt/format.h>

#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "planner/schedule/builder.h"

namespace stowage {
namespace {

constexpr std::int64_t kPosition = 4;  // bytes of the cache that one pass adds

class Ring {
 public:
  explicit Ring(const RingShape& shape)
      : shape_(shape), b_("random ring"), passes_(shape.slots / std::gcd(shape.blocks, shape.slots)) {}

  Schedule Make() {
    Declare();
    Load();
    std::vector<RequiredOp> required;
    for (int k = 0; k < shape_.blocks; ++k) required.push_back({fmt::format("block{}", k)});
    b_.BeginPhase("decode", std::move(required));
    b_.BeginPrologue(0);
    UseLoader();
    for (int p = 0; p < shape_.slots; ++p) first_.push_back(Copy(p, {}));
    b_.UseIssuer(main_);
    b_.BeginBody(shape_.iterations, passes_);
    body_ = b_.next();
    Body();
    b_.BeginEpilogue(0);
    b_.Wait({computed_.back(), 0});
    return std::move(b_).Take();
  }

 private:
  int positions() const { return shape_.blocks * passes_; }

  void Declare() {
    const std::int64_t cache = shape_.iterations * passes_ * kPosition;
    const auto gpu =
        b_.AddPool("gpu0", Allocator::kArena, Bytes(shape_.slots * shape_.slot_bytes + 8 + (shape_.cache ? cache : 0)));
    const auto host = b_.AddPool("host", Allocator::kPageable, Bytes(0));
    in_ = {b_.AddQueue("gpu0/in"), {b_.AddResource("gpu0.h2d")}};
    compute_ = {b_.AddQueue("gpu0/compute"), {b_.AddResource("gpu0.sm")}};
    out_ = {b_.AddQueue("gpu0/out"), {b_.AddResource("gpu0.d2h")}};
    main_ = b_.AddIssuer("main", IssuerKind::kNative);
    if (shape_.loader) loader_ = b_.AddIssuer("loader", IssuerKind::kNative);
    b_.UseIssuer(main_);
    x_ = b_.AddInitial(gpu, "x", BufferKind::kActivations, Bytes(8));
    for (int k = 0; k < shape_.blocks; ++k) {
      masters_.push_back(
          b_.AddInitial(host, fmt::format("host{}", k), BufferKind::kWeights, Bytes(shape_.slot_bytes - k % 3)));
    }
    ring_ = b_.AddBuffer(gpu, "ring", BufferKind::kStaging, shape_.slots * shape_.slot_bytes);
    for (int p = 0; p < positions(); ++p) {
      const int k = p % shape_.blocks;
      parts_.push_back(b_.AddPart(ring_, fmt::format("w{}.{}", k, p / shape_.blocks), BufferKind::kWeights,
                                  Bytes(p % shape_.slots * shape_.slot_bytes), Bytes(shape_.slot_bytes - k % 3)));
    }
    if (shape_.cache) {
      cache_ = b_.AddBuffer(gpu, "cache", BufferKind::kKv, cache);
      host_cache_ = b_.AddBuffer(host, "host_cache", BufferKind::kKv, cache);
    }
    Kernel kernel;
    kernel.name = "block";
    kernel_ = b_.AddKernel(kernel);
  }

  void Load() {
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    if (shape_.cache) b_.Allocate(cache_);
    if (shape_.cache) b_.Allocate(host_cache_);
    const StepId allocated = b_.Allocate(ring_);
    UseLoader();
    if (shape_.loader) b_.Wait({allocated, 0});
  }

  void UseLoader() { b_.UseIssuer(shape_.loader ? loader_ : main_); }

  StepId Copy(int position, std::vector<StepRef> after) {
    const StepId id =
        b_.Copy(in_, b_.Whole(masters_[position % shape_.blocks]), b_.Whole(parts_[position]), std::move(after));
    b_.step(id).name = fmt::format("copy{}@{}", position, id);
    return id;
  }

  bool Caches(int position) const { return shape_.cache && position % shape_.blocks == 0; }
  int WaitsFor(int position) const { return !shape_.host_waits_for_copy ? 0 : position < shape_.slots ? 2 : 1; }
  int StepsOf(int position) const {
    return WaitsFor(position) + 1 + (Caches(position) ? 1 : 0) + (shape_.host_waits_for_block ? 1 : 0) + 1;
  }
  int StepsBefore(int position) const {
    int n = 0;
    for (int p = 0; p < position; ++p) n += StepsOf(p);
    return n;
  }

  void Body() {
    copied_.assign(positions(), -1);
    // Each position ends with the copy that refills its slot, for `slots` positions later.
    for (int p = 0; p < positions(); ++p) copied_[(p + shape_.slots) % positions()] = body_ + StepsBefore(p + 1) - 1;
    for (int p = 0; p < positions(); ++p) Position(p);
  }

  void Position(int p) {
    const int pass = p / shape_.blocks;
    std::vector<StepRef> after = {{copied_[p], p < shape_.slots ? 1 : 0}};
    if (p < shape_.slots) after.push_back({first_[p], 0});
    if (shape_.host_waits_for_copy) {
      for (const StepRef& ref : after) b_.Wait(ref);
      after.clear();
    }
    std::vector<Slice> reads = {b_.Whole(x_), b_.Whole(parts_[p])};
    std::vector<Slice> writes = {b_.Whole(x_)};
    const Slice added = {cache_, {pass * kPosition, passes_ * kPosition}, kPosition};
    if (Caches(p)) writes.push_back(added);
    if (shape_.cache && !Caches(p)) reads.push_back({cache_, 0, {(pass + 1) * kPosition, passes_ * kPosition}});
    const StepId computed = b_.Compute(compute_, kernel_, reads, writes, {p % shape_.blocks, pass}, std::move(after));
    b_.step(computed).blocking = shape_.blocking;
    computed_.push_back(computed);
    if (Caches(p)) {
      Slice to = added;
      to.buffer = host_cache_;
      b_.Copy(out_, added, to, {{computed, 0}});
    }
    const bool waits = shape_.host_waits_for_block;
    if (waits) b_.Wait({computed, 0});
    UseLoader();
    std::vector<StepRef> left;
    if (!waits && !shape_.blocking) left.push_back({computed, 0});
    Copy((p + shape_.slots) % positions(), std::move(left));
    b_.UseIssuer(main_);
  }

  RingShape shape_;
  ScheduleBuilder b_;
  int passes_;
  Lane in_, compute_, out_;
  std::int32_t main_ = 0, loader_ = 0, kernel_ = 0;
  BufferId x_ = -1, ring_ = -1, cache_ = -1, host_cache_ = -1;
  std::vector<BufferId> masters_, parts_;
  std::vector<StepId> first_, copied_, computed_;
  StepId body_ = 0;
};

}  // namespace

Schedule MakeRing(const RingShape& shape) { return Ring(shape).Make(); }

Schedule RandomRing(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  RingShape shape;
  shape.blocks = 1 + below(4);
  shape.slots = 1 + below(3);
  shape.iterations = 1 + below(8);
  shape.slot_bytes = 4 + below(8);
  shape.loader = below(2) == 0;
  shape.host_waits_for_copy = below(3) == 0;
  const int order = shape.loader ? 0 : below(3);
  shape.host_waits_for_block = order == 1;
  shape.blocking = order == 2;
  shape.cache = below(2) == 0;
  Schedule s = MakeRing(shape);
  // Orders that add nothing, so that removing one is sometimes harmless.
  for (StepId id = 0; id < static_cast<StepId>(s.steps.size()); ++id) {
    Step& t = s.steps[id];
    if (t.kind == StepKind::kCopy && id > 0 && below(4) == 0) t.after.push_back({below(id), 0});
  }
  return s;
}

}  // namespace stowage
