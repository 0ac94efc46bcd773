#include "planner/formats/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace stowage {
namespace {

Error IoError(const std::string& path, const char* what) {
  return {ErrorCode::kIo, fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

}  // namespace

Result<InputFile> InputFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer must not block
  if (fd < 0) return IoError(path, "cannot open");
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    ::close(fd);
    return IoError(path, "cannot read its size");
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return Error{ErrorCode::kInvalidInput, path + ": is not a regular file"};
  }
  return InputFile(path, fd, info.st_size);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> InputFile::Read(std::int64_t offset, std::int64_t bytes) const {
  std::string out(static_cast<std::size_t>(bytes), '\0');
  std::int64_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::pread(fd_, out.data() + done, static_cast<std::size_t>(bytes - done), offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return IoError(path_, "cannot read");
    if (n == 0) {
      return Error{ErrorCode::kIo,
                   fmt::format("{}: ends at byte {}, wanted [{}, {})", path_, offset + done, offset, offset + bytes)};
    }
    done += n;
  }
  return out;
}

Result<std::string> ReadTextFile(const std::string& path, std::int64_t limit) {
  STOWAGE_TRY(const InputFile file, InputFile::Open(path));
  if (file.size() > limit) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: has {} bytes, at most {} are read", path, file.size(), limit)};
  }
  return file.Read(0, file.size());
}

bool IsFolder(const std::string& path) {
  struct stat info = {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool IsFile(const std::string& path) {
  struct stat info = {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> out;
  DIR* entries = ::opendir(folder.c_str());
  if (entries == nullptr) return out;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  ::closedir(entries);
  std::sort(out.begin(), out.end());
  return out;
}

std::string JoinPath(std::string_view folder, std::string_view name) {
  std::string out(folder);
  if (!out.empty() && out.back() != '/') out += '/';
  return out += name;
}

std::string BaseName(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));
}

std::string FolderName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

}  // namespace stowage
