#include "exec/cuda/fake/scheduler.h"

#include <fmt/format.h>

namespace stowage {

std::string Describe(const FakePolicy& policy) {
  static constexpr const char* kNames[] = {"copies", "kernels", "reads"};
  std::string out;
  for (int c = 0; c < 3; ++c) {
    const auto when = [&](int moment) { return policy.early >> (2 * c + moment) & 1 ? "early" : "late"; };
    out += fmt::format("{} begin {}, end {}; ", kNames[c], when(0), when(1));
  }
  return out + fmt::format("seed {}; issuer {} first", policy.seed, policy.first_issuer);
}

std::vector<FakePolicy> AllPolicies(int seeds, int issuers) {
  std::vector<FakePolicy> out;
  for (int seed = 0; seed < seeds; ++seed) {
    for (std::int32_t first = 0; first < issuers; ++first) {
      for (std::uint32_t early = 0; early < 64; ++early) {
        out.push_back({early, static_cast<std::uint64_t>(seed), first});
      }
    }
  }
  return out;
}

FakeScheduler::FakeScheduler(FakePolicy policy) : policy_(policy), random_(policy.seed) {}

int FakeScheduler::AddQueue() {
  const std::lock_guard lock(mutex_);
  queues_.emplace_back();
  return static_cast<int>(queues_.size()) - 1;
}

FakeScheduler::OpId FakeScheduler::Post(int queue, FakeOp op) {
  const std::lock_guard lock(mutex_);
  const auto id = static_cast<OpId>(done_.size());
  done_.push_back(false);
  queues_[queue].push_back({std::move(op), id});
  Breathe();
  return id;
}

bool FakeScheduler::Done(OpId op) {
  const std::lock_guard lock(mutex_);
  return done_[static_cast<std::size_t>(op)];
}

bool FakeScheduler::RunUntil(OpId op) {
  const std::lock_guard lock(mutex_);
  if (Done(op)) return true;  // also asked from inside an operation, where nothing else may move
  Breathe();
  while (!Done(op)) {
    if (!Move(/*early_only=*/true) && !Move(/*early_only=*/false)) return false;
  }
  return true;
}

bool FakeScheduler::RunQueue(int queue) {
  const std::lock_guard lock(mutex_);
  return queues_[queue].empty() || RunUntil(queues_[queue].back().id);
}

std::int64_t FakeScheduler::Tick() {
  const std::lock_guard lock(mutex_);
  return ticks_;
}

bool FakeScheduler::CanMove(const std::deque<Entry>& queue) const {
  return !queue.empty() && (queue.front().begun || !queue.front().op.ready || queue.front().op.ready());
}

bool FakeScheduler::IsEarly(const Entry& entry) const {
  if (entry.op.kind == FakeClass::kMark) return true;
  return policy_.early >> (2 * static_cast<int>(entry.op.kind) + (entry.begun ? 1 : 0)) & 1;
}

bool FakeScheduler::Move(bool early_only) {
  std::vector<std::size_t> candidates;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (CanMove(queues_[i]) && (!early_only || IsEarly(queues_[i].front()))) candidates.push_back(i);
  }
  if (candidates.empty()) return false;
  std::deque<Entry>& queue = queues_[candidates[random_() % candidates.size()]];
  Entry& entry = queue.front();
  ++ticks_;
  if (!entry.begun) {
    entry.begun = true;
    if (entry.op.begin) entry.op.begin();
    if (entry.op.kind != FakeClass::kMark) return true;
  }
  if (entry.op.end) entry.op.end();
  done_[static_cast<std::size_t>(entry.id)] = true;
  queue.pop_front();
  return true;
}

void FakeScheduler::Breathe() {
  while (Move(/*early_only=*/true)) {
  }
}

}  // namespace stowage
