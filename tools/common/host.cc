#include "tools/common/host.h"

#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace stowage {
namespace {

// Files of /proc and /sys have no size to ask for; they are read until they end. Empty when there is none.
std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

std::optional<std::int64_t> LeadingNumber(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  return value;
}

// The number after "key" at the start of a line: "MemAvailable:   23555688 kB", "inactive_file 4096".
std::optional<std::int64_t> Field(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end).starts_with(key)) return LeadingNumber(text.substr(key.size(), end - key.size()));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

struct CgroupFiles {
  std::string folder;
  const char* limit;
  const char* usage;
  const char* inactive;  // field of memory.stat
};

// What a cgroup leaves: nothing when it sets no limit ("max", or a huge number in v1).
std::optional<std::int64_t> LeftIn(const CgroupFiles& group) {
  const std::optional<std::int64_t> limit = LeadingNumber(ReadAll(group.folder + "/" + group.limit));
  const std::optional<std::int64_t> usage = LeadingNumber(ReadAll(group.folder + "/" + group.usage));
  if (!limit || !usage) return std::nullopt;
  const std::int64_t reclaimable = Field(ReadAll(group.folder + "/memory.stat"), group.inactive).value_or(0);
  return std::max<std::int64_t>(*limit - std::max<std::int64_t>(*usage - reclaimable, 0), 0);
}

// The group itself and its parents up to the mount. In a container the path may not exist below the mount; the walk
// then still ends at the mount, which shows the container's own group.
std::vector<CgroupFiles> Groups(const std::string& mount, std::string path, const CgroupFiles& names) {
  std::vector<CgroupFiles> groups;
  while (!path.empty() && path != "/") {
    groups.push_back({mount + path, names.limit, names.usage, names.inactive});
    path.erase(std::min(path.rfind('/'), path.size()));
  }
  groups.push_back({mount, names.limit, names.usage, names.inactive});
  return groups;
}

// Lines of /proc/self/cgroup: "0::/path" (v2), "4:memory:/path" (v1; the controllers may be a list).
std::vector<CgroupFiles> MemoryGroups(const std::string& root) {
  std::vector<CgroupFiles> groups;
  std::istringstream lines(ReadAll(root + "proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::vector<CgroupFiles> found;
    if (controllers == ",,") {
      found = Groups(root + "sys/fs/cgroup", line.substr(second + 1),
                     {"", "memory.max", "memory.current", "inactive_file "});
    } else if (controllers.find(",memory,") != std::string::npos) {
      found = Groups(root + "sys/fs/cgroup/memory", line.substr(second + 1),
                     {"", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "});
    }
    groups.insert(groups.end(), found.begin(), found.end());
  }
  return groups;
}

}  // namespace

HostFacts ReadHostFacts(const std::string& root) {
  const std::optional<std::int64_t> kilobytes = Field(ReadAll(root + "proc/meminfo"), "MemAvailable:");
  if (!kilobytes || *kilobytes > std::numeric_limits<std::int64_t>::max() / 1024) return {};
  std::int64_t available = *kilobytes * 1024;
  for (const CgroupFiles& group : MemoryGroups(root))
    available = std::min(available, LeftIn(group).value_or(available));
  return {.available = Bytes(available)};
}

Result<Bytes> FreeDiskSpace(const std::string& folder) {
  struct statvfs info = {};
  if (::statvfs(folder.c_str(), &info) != 0) {
    return Error{ErrorCode::kIo, "'" + folder + "': cannot read its free space: " + std::strerror(errno)};
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(info.f_bavail, info.f_frsize, &bytes)) bytes = std::numeric_limits<std::int64_t>::max();
  return Bytes(bytes);
}

bool StdoutShowsColours() {
  const char* term = std::getenv("TERM");
  const char* no_colour = std::getenv("NO_COLOR");
  const bool refused = no_colour != nullptr && *no_colour != '\0';
  return isatty(STDOUT_FILENO) == 1 && !refused && term != nullptr && std::string_view(term) != "dumb";
}

std::optional<std::size_t> StdoutWidth() {
  winsize size = {};
  if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return std::nullopt;
  }
  return size.ws_col;
}

}  // namespace stowage
