// What follows from kernels being computed by the host's cores: which activations cross the link when, and which tensors
// host memory must hold whole.
//
//   kernel      0 host    1 host         2 device    3 device    4 host
//   reads       ids       x              x, y        y           x, z
//   writes      x         y              x           z           w
//   crosses               -              x, y ──►                ◄── x, z
//
// A pass is a chain: where the side changes, the next kernel waits for the one before and for what crosses. So memory of
// either side is used again only when nothing reads it any more, and host and device take turns (copies of the ring go
// on). llama.cpp does the same.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/model/model.h"
#include "planner/realize/native.h"

namespace stowage {

struct NativeProposal;
struct NativeModel;

// Empty: nothing is on the host.
inline bool OnHost(const std::vector<bool>& on_host, std::size_t i) { return i < on_host.size() && on_host[i]; }

// Bytes of an activation that a kernel reads and the other side wrote last. They go to the kernel's side before it.
struct Crossing {
  std::int32_t activation = kNoId;
  Bytes offset;
  Bytes bytes;
};

using Crossings = std::vector<std::vector<Crossing>>;  // by kernel; empty when all kernels are on one side

// The program's input activation is taken to be on the side of the kernel that reads it first.
Crossings CrossingsOf(const NativeProgram& program, const std::vector<bool>& on_host);

// The kernels between which a side must keep an activation; first > last: it never touches it.
struct Lifetime {
  std::int32_t first = 1, last = 0;
};
std::vector<Lifetime> LifetimesOn(bool host, const NativeProgram& program, const std::vector<bool>& on_host,
                                  const Crossings& crossings);

// By TensorId: which sides' kernels read it.
struct Readers {
  std::vector<bool> device, host;
};
Readers ReadersOf(const NativeProgram& program, const std::vector<bool>& on_host, std::size_t tensors);
Readers ReadersOf(const NativeModel& native, const NativeProposal& proposal, std::size_t tensors);  // in any phase

// Whether a kernel of the device (of the host) reads or writes the buffer of token ids.
bool TouchesTokens(bool host, const NativeModel& native, const NativeProposal& proposal);

}  // namespace stowage
