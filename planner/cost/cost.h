// How long a kernel, a transfer or an all-reduce takes on a resource that serves nothing else meanwhile. Pure functions
// of the machine's constants; the simulator and the strategies price with the same ones.
//
// A resource that cannot do the work (no FLOPS for the dtype, a rate of 0) takes infinitely long; work of nothing on it
// takes its fixed part.
#pragma once

#include <cstdint>

#include "planner/base/units.h"
#include "planner/machine/machine.h"
#include "planner/realize/kernel.h"

namespace stowage {

// Smooth roofline, t = ((F / (flops_efficiency * peak))^p + (B / (memory_efficiency * memory))^p)^(1/p) + launch, with
// plus what it reads in place from host memory over the link, with the FLOPs and bytes of the iteration and the peak of
// the kernel's dtype. Source: fit to public RTX 4090 measurements of Llama-3.1-8B's GEMMs, M = 1..2048: p = 2, 0.97 of
// peak, 0.93 of bandwidth and 4 us give a mean error of 3.8 % (hard maxima of the usual constants: 5 to 24 %). p = 1
// adds the two times, a large p is the classic maximum.
Seconds Duration(const Kernel& kernel, std::int64_t iteration, const ComputeRate& rate);

// t = latency + bytes / rate, at the pinned or the pageable rate.
Seconds Duration(Bytes bytes, const TransferRate& rate, bool pageable = false);

// A copy within one device: every byte is read and written once by the device's own memory.
Seconds LocalCopyDuration(Bytes bytes, const ComputeRate& rate);

// All-reduce of `bytes` per rank, whichever is quicker:
//   ring  2 (n - 1) hops, each of 1/n of the bytes:           start + 2 (n - 1) latency + 2 (n - 1) / n * bytes / rate
//   tree  up and down ceil(log2 n) levels, in small chunks:   start + 2 ceil(log2 n) latency + 2 bytes / rate
// Source: the bandwidth-optimal ring (Patarasuk and Yuan 2009) and the double binary tree as NCCL's tuner and GenZ model
// them. One rank takes 0. How far it is from tables measured on A100 and H100 machines: fit_test.cc.
Seconds AllReduceDuration(Bytes bytes, int ranks, const TransferRate& rate);

}  // namespace stowage
