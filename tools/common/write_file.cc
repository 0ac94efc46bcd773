#include "tools/common/write_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace stowage {

Status WriteFile(const std::string& path, std::string_view text) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
  const auto fail = [&](const char* what) {
    const int reason = errno;
    std::remove(temporary.c_str());
    return Error{ErrorCode::kIo, fmt::format("{}: cannot {}: {}", path, what, std::strerror(reason))};
  };
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr) return fail("create");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) return fail("write");
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return fail("rename");
  return OkStatus();
}

}  // namespace stowage
