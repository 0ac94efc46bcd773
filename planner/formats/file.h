// Reading parts of files. Headers of checkpoints are read with pread: a folder of hundreds of gigabytes costs its
// headers only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"

namespace stowage {

// An open file; closed on destruction. Errors are kIo and name the path as given.
class InputFile {
 public:
  static Result<InputFile> Open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }  // when it was opened
  // Exactly `bytes` bytes from `offset`; a shorter file is an error.
  Result<std::string> Read(std::int64_t offset, std::int64_t bytes) const;

 private:
  InputFile(std::string path, int fd, std::int64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}

  std::string path_;
  int fd_ = -1;
  std::int64_t size_ = 0;
};

// The whole file, refused with kInvalidInput beyond `limit` bytes.
Result<std::string> ReadTextFile(const std::string& path, std::int64_t limit);

bool IsFolder(const std::string& path);
bool IsFile(const std::string& path);
std::vector<std::string> NamesIn(const std::string& folder);  // of its entries, sorted; none when it cannot be read
std::string JoinPath(std::string_view folder, std::string_view name);
std::string BaseName(std::string_view path);    // "config.json"; of a folder with a trailing slash, the folder's name
std::string FolderName(std::string_view path);  // "a/b" of "a/b/c", "." of "c"

}  // namespace stowage
