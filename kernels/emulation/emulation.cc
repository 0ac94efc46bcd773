#include "kernels/emulation/emulation.h"

#include <memory>
#include <vector>

#include "kernels/call.h"
#include "kernels/emulation/fiber.h"

namespace stowage::kernels::emulation {
namespace {

enum class Waiting { kNot, kBlock, kWarp, kExited };

struct Thread {
  Waiting waiting = Waiting::kNot;
  const char* file = "";
  int line = 0;
  std::uint32_t mask = 0;      // of the warp operation waited in
  std::uint32_t warp_ops = 0;  // passed so far: chooses the half of Warp::words
  Indices indices;
  std::unique_ptr<Fiber> fiber;
};

struct Warp {
  // What each lane gave to the operation, in two halves: a lane can be one operation ahead of a lane that still reads.
  std::uint64_t words[2][kWarpSize];
};

// One launch, and the fibers kept for the next one.
struct Machine {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  int count = 0;  // threads of the block
  int current = -1;
  std::uint32_t block_epoch = 1;
  std::uint64_t block_serial = 0;
  const std::function<void()>* body = nullptr;
  bool failed = false;
  std::string error;
};

Machine& TheMachine() {
  static thread_local Machine machine;  // per OS thread, as the header says
  return machine;
}

Thread& CurrentThread() {
  Machine& m = TheMachine();
  return m.threads[m.current];
}

// Thrown by Fail to unwind the failing thread's fiber; caught where the fiber began.
struct Abandoned {};

void Report(const std::string& what) {
  Machine& m = TheMachine();
  const Dim3 b = CurrentThread().indices.block;
  m.failed = true;
  m.error = what + ", block (" + std::to_string(b.x) + ", " + std::to_string(b.y) + ", " + std::to_string(b.z) +
            "), thread " + std::to_string(m.current);
}

std::string At(const char* file, int line) { return std::string(file) + ":" + std::to_string(line); }

void Suspend(Waiting waiting, std::uint32_t mask, const char* file, int line) {
  Thread& t = CurrentThread();
  t.waiting = waiting;
  t.mask = mask;
  t.file = file;
  t.line = line;
  t.fiber->Suspend();
}

void RunBody(void*) {
  try {
    (*TheMachine().body)();
  } catch (const Abandoned&) {
  }
}

// What keeps `t` from a barrier that `first` waits at; empty if nothing does.
std::string BarrierProblem(const Thread& first, const Thread& t) {
  const std::string barrier = "__syncthreads at " + At(first.file, first.line);
  if (t.waiting == Waiting::kExited) return barrier + " waits for a thread that has exited";
  if (t.waiting == Waiting::kWarp) {
    return barrier + " waits while a warp operation at " + At(t.file, t.line) + " cannot complete";
  }
  if (t.line != first.line) return barrier + " meets another one, " + At(t.file, t.line);
  return "";
}

// No thread can run and not all have exited: every thread is at one barrier, or this is an error.
void ReleaseBlock(Machine& m) {
  const Thread* first = nullptr;
  for (int i = 0; i < m.count && !first; ++i) {
    if (m.threads[i].waiting == Waiting::kBlock) first = &m.threads[i];
  }
  for (m.current = 0; m.current < m.count; ++m.current) {
    const Thread& t = m.threads[m.current];
    if (!first && t.waiting == Waiting::kExited) continue;
    const std::string problem =
        first ? BarrierProblem(*first, t) : "warp operation at " + At(t.file, t.line) + " cannot complete";
    if (!problem.empty()) return Report(problem);
  }
  for (int i = 0; i < m.count; ++i) m.threads[i].waiting = Waiting::kNot;
  ++m.block_epoch;
}

enum class Lanes { kIncomplete, kComplete, kBroken };

// Whether all lanes of the operation that thread `at` waits in have come.
Lanes WarpOperation(Machine& m, int at) {
  const Thread& t = m.threads[at];
  const int begin = at / kWarpSize * kWarpSize;
  m.current = at;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!(t.mask >> lane & 1)) continue;
    if (begin + lane >= m.count || m.threads[begin + lane].waiting == Waiting::kExited) {
      Report("warp operation at " + At(t.file, t.line) + " names lane " + std::to_string(lane) +
             ", which has exited or does not exist");
      return Lanes::kBroken;
    }
    const Thread& other = m.threads[begin + lane];
    if (other.waiting != Waiting::kWarp) return Lanes::kIncomplete;
    if (other.mask != t.mask || other.line != t.line) {
      Report("warp operation at " + At(t.file, t.line) + " meets another mask or line, " + At(other.file, other.line));
      return Lanes::kBroken;
    }
  }
  return Lanes::kComplete;
}

void ReleaseWarps(Machine& m) {
  for (int i = 0; i < m.count && !m.failed; ++i) {
    if (m.threads[i].waiting != Waiting::kWarp || WarpOperation(m, i) != Lanes::kComplete) continue;
    const std::uint32_t mask = m.threads[i].mask;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (mask >> lane & 1) m.threads[i / kWarpSize * kWarpSize + lane].waiting = Waiting::kNot;
    }
  }
}

void StartBlock(Machine& m, Dim3 grid, Dim3 block, Dim3 at) {
  ++m.block_serial;
  ++m.block_epoch;
  for (int i = 0; i < m.count; ++i) {
    Thread& t = m.threads[i];
    const unsigned u = static_cast<unsigned>(i);
    t.waiting = Waiting::kNot;
    t.warp_ops = 0;
    t.indices = {{u % block.x, u / block.x % block.y, u / block.x / block.y}, at, block, grid};
    t.fiber->Start(&RunBody, nullptr);
  }
}

void RunBlock(Machine& m) {
  while (!m.failed) {
    bool ran = false;
    int exited = 0;
    for (int i = 0; i < m.count && !m.failed; ++i) {
      if (m.threads[i].waiting == Waiting::kExited) ++exited;
      if (m.threads[i].waiting != Waiting::kNot) continue;
      ran = true;
      m.current = i;
      if (!m.threads[i].fiber->Resume()) m.threads[i].waiting = Waiting::kExited;
    }
    if (ran) {
      ReleaseWarps(m);
      continue;
    }
    if (exited == m.count) return;
    ReleaseBlock(m);
  }
}

}  // namespace

int Launch(Dim3 grid, Dim3 block, const std::function<void()>& body) {
  Machine& m = TheMachine();
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreadsPerBlock || grid.x == 0 || grid.y == 0 || grid.z == 0) return kInvalidValue;
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) return kInvalidValue;  // the limits of a GPU
  m.count = static_cast<int>(threads);
  while (m.threads.size() < threads) {
    m.threads.emplace_back();
    m.threads.back().fiber = std::make_unique<Fiber>();
  }
  m.warps.resize((threads + kWarpSize - 1) / kWarpSize);
  m.body = &body;
  m.failed = false;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        StartBlock(m, grid, block, Dim3(x, y, z));
        RunBlock(m);
        m.current = -1;
        if (m.failed) return kLaunchFailure;
      }
    }
  }
  m.error.clear();
  return kOk;
}

const std::string& LastError() { return TheMachine().error; }

const Indices& Current() { return CurrentThread().indices; }

int Lane() { return TheMachine().current % kWarpSize; }

void SyncThreads(const char* file, int line) { Suspend(Waiting::kBlock, 0, file, line); }

void SyncWarp(std::uint32_t mask, const char* file, int line) {
  Suspend(Waiting::kWarp, mask, file, line);
  ++CurrentThread().warp_ops;
}

std::uint64_t Shuffle(std::uint32_t mask, std::uint64_t word, int from, const char* file, int line) {
  Machine& m = TheMachine();
  Warp& warp = m.warps[m.current / kWarpSize];
  const std::uint32_t half = CurrentThread().warp_ops % 2;
  warp.words[half][m.current % kWarpSize] = word;
  SyncWarp(mask, file, line);
  if (!(mask >> from & 1))
    Fail("shuffle at " + At(file, line) + " reads lane " + std::to_string(from) + ", which its mask leaves out");
  return warp.words[half][from];
}

void Fail(const std::string& what) {
  Report(what);
  throw Abandoned{};
}

Access Now() {
  Machine& m = TheMachine();
  return {m.current, m.block_epoch, CurrentThread().warp_ops};
}

bool Ordered(const Access& earlier, const Access& now) {
  if (earlier.thread == now.thread || earlier.block_epoch != now.block_epoch) return true;
  return earlier.thread / kWarpSize == now.thread / kWarpSize && earlier.warp_epoch < now.warp_epoch;
}

std::uint64_t BlockSerial() { return TheMachine().block_serial; }

}  // namespace stowage::kernels::emulation
