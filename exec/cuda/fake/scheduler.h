// Runs queued work in any order that streams and events allow, as badly for a wrong schedule as it can.
//
// Every operation has two moments, begin and end. A policy says for each of six (class, moment) pairs whether it
// happens as early as possible (at the next call of anyone) or as late as possible (when somebody blocks and nothing
// else can move); ties are broken by a seeded random number. A copy that begins early and ends late, for example,
// leaves its target poisoned for as long as a missing dependency could possibly let somebody look.
//
// No threads and no clock of its own: the same calls with the same policy give the same order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace stowage {

enum class FakeClass : std::uint8_t {
  kCopy,
  kKernel,
  kHost,
  kMark
};  // kHost: transfers of host queues. kMark: events, takes no time

struct FakePolicy {
  std::uint32_t early = 0;  // bit 2 * class + moment: as early as possible
  std::uint64_t seed = 0;
  std::int32_t first_issuer = 0;  // for ExecuteOptions: steps of several issuers are issued in a fixed order too
};
std::string Describe(const FakePolicy& policy);  // "copies begin early, end late; kernels late; … seed 3"

// All 64 combinations for each first issuer, each with `seeds` seeds.
std::vector<FakePolicy> AllPolicies(int seeds, int issuers = 1);

struct FakeOp {
  FakeClass kind = FakeClass::kMark;
  std::function<bool()> ready;  // empty: as soon as its queue gets there
  std::function<void()> begin;  // may be empty
  std::function<void()> end;    // may be empty
};

// Thread-safe; operations run under its lock and may ask about each other.
class FakeScheduler {
 public:
  using OpId = std::int64_t;

  explicit FakeScheduler(FakePolicy policy);

  int AddQueue();
  OpId Post(int queue, FakeOp op);  // then lets early work happen
  bool Done(OpId op);
  bool RunUntil(OpId op);    // blocks a thread of the program; false: nothing can move any more
  bool RunQueue(int queue);  // until it is empty
  std::int64_t Tick();       // moments so far: the fake's clock

 private:
  struct Entry {
    FakeOp op;
    OpId id = 0;
    bool begun = false;
  };
  bool CanMove(const std::deque<Entry>& queue) const;
  bool IsEarly(const Entry& entry) const;
  bool Move(bool early_only);  // one moment of one queue
  void Breathe();

  FakePolicy policy_;
  std::recursive_mutex mutex_;
  std::mt19937_64 random_;
  std::vector<std::deque<Entry>> queues_;
  std::vector<bool> done_;  // by OpId
  std::int64_t ticks_ = 0;
};

}  // namespace stowage
