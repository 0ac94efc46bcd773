// What a tool asks the computer it runs on; the planner gets the answers as values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/machine/build_machine.h"

namespace stowage {

// MemAvailable of /proc/meminfo, cut by the memory limits of this process's cgroup and its parents (v1 and v2): a limit
// leaves limit - usage + inactive page cache. Absent when /proc/meminfo says nothing. `root` replaces "/" in tests.
HostFacts ReadHostFacts(const std::string& root = "/");

// What an unprivileged process may still write in the file system of `folder`. kIo names the folder.
Result<Bytes> FreeDiskSpace(const std::string& folder);

// stdout is a terminal that shows colours: not redirected, TERM is not "dumb", NO_COLOR is not set.
bool StdoutShowsColours();

// Characters in a line of the terminal that stdout is; absent when it is none, or does not say.
std::optional<std::size_t> StdoutWidth();

}  // namespace stowage
