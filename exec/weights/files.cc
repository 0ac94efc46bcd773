#include "exec/weights/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace stowage {
namespace {

std::int64_t ModifiedNs(const struct stat& info) {
  return static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

Result<WeightFiles> WeightFiles::Open(const std::vector<std::string>& paths) {
  WeightFiles out;
  for (const std::string& path : paths) {
    File file{path, ::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.descriptor < 0) return Error{ErrorCode::kIo, fmt::format("{}: {}", path, std::strerror(errno))};
    out.files_.push_back(file);  // from here on closed by the destructor
    struct stat info {};
    if (::fstat(file.descriptor, &info) != 0) {
      return Error{ErrorCode::kIo, fmt::format("{}: {}", path, std::strerror(errno))};
    }
    out.files_.back().size = info.st_size;
    out.files_.back().modified_ns = ModifiedNs(info);
  }
  return out;
}

WeightFiles::~WeightFiles() {
  for (const File& file : files_) ::close(file.descriptor);
}

Status WeightFiles::Read(std::int32_t index, std::int64_t offset, std::span<std::byte> to,
                         std::string_view tensor) const {
  if (index < 0 || static_cast<std::size_t>(index) >= files_.size()) {
    return Error{ErrorCode::kInternal, fmt::format("{}: file {} of {}", tensor, index, files_.size())};
  }
  const File& file = files_[index];
  std::size_t got = 0;
  while (got < to.size()) {
    const ssize_t n = ::pread(file.descriptor, to.data() + got, to.size() - got, offset + static_cast<off_t>(got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return Error{ErrorCode::kIo, fmt::format("{}: {} at offset {}: {}", tensor, file.path,
                                               offset + static_cast<std::int64_t>(got), std::strerror(errno))};
    }
    if (n == 0) {
      return Error{ErrorCode::kIo, fmt::format("{}: {} at offset {}: wanted {} bytes, got {}: the file ends early",
                                               tensor, file.path, offset, to.size(), got)};
    }
    got += static_cast<std::size_t>(n);
  }
  // After the bytes, so that a change during the read is seen too.
  struct stat info {};
  if (::fstat(file.descriptor, &info) != 0 || info.st_size != file.size || ModifiedNs(info) != file.modified_ns) {
    return Error{ErrorCode::kIo, fmt::format("{}: {} at offset {}: the file changed while it was being read (size {} "
                                             "when opened, {} now)",
                                             tensor, file.path, offset, file.size, info.st_size)};
  }
  return OkStatus();
}

}  // namespace stowage
