// The text form of a schedule: complete (ParseSchedule reads it back to an equal Schedule), one line per noun, names
// instead of indices, so that a person can read it, diff it and write one by hand.
//
//   schedule 1 "a toy"
//   pool gpu0 arena budget=4096
//   resource gpu0.sm
//   queue gpu0/compute
//   issuer main native
//   file model.safetensors
//   buffer arena weights 4096 pool=gpu0
//   buffer w0 weights 1024 in=arena at=2048
//   kernel mm linear bf16 rows=1 n=16 k=32 row_end=16 flops=1024 bytes=1120
//   phase decode iterations=3 captured
//   requires mm tiles=2
//   body passes=1
//     fetch: copy host_w0 -> w0 on=gpu0/in uses=gpu0.h2d after=mm0[-1] for=2ms
//     mm0: compute mm x,w0,kv[1024+8i@0] -> y on=gpu0/compute uses=gpu0.sm after=fetch op=mm
//
// A step line is  label: kind subject reads -> writes attributes. The subject is what the kind is about: the buffer of
// allocate, free and record_stream, the pool of empty_cache, the target of wait, the kernel of compute; '-' when there
// is none. `a,b -> c` are slices, '-' an empty side; a slice is a whole buffer, or buffer[bytes@offset]. Quantities
// that change with the iteration i are written 1024+8i. `x[-1]` in after and wait is x one iteration back. `on` is the
// queue, `uses` the resources, `by` the issuer when it is not the first one.
//
// Names that are empty, repeated or no plain word carry their index or quotes: @7, w@3, "two words". A line that starts
// with # is a comment; ParseSchedule skips it.
#pragma once

#include <string>

#include "planner/schedule/schedule.h"

namespace stowage {

// Sections must be consecutive and cover the steps (what ScheduleBuilder makes). An index that is out of range is
// written as ?7, which ParseSchedule refuses.
std::string Dump(const Schedule& schedule);

}  // namespace stowage
