// What a proposal's schedule keeps in host memory. Internal to planner/strategy/native.
#pragma once

#include "planner/strategy/native/buffers.h"
#include "planner/strategy/native/disk_feed.h"
#include "planner/strategy/native/load.h"

namespace stowage {

// What stays: arenas and buffers.
Bytes HostArenas(const NativeLayout& layout);

// Beside them, as much as the host's budget leaves: what reads from the disk go through, and first of all, while loading,
// the staging ring.
struct HostStreams {
  HostRing ring;
  StagingSize staging;
};
HostStreams HostStreamsOf(const NativeCase& c);

Result<Needs> NeedsOf(const NativeCase& c);

}  // namespace stowage
