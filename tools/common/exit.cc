#include "tools/common/exit.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

namespace stowage {

int Fail(std::string_view tool, const Error& error) {
  const std::string line = std::string(tool) + ": " + error.message + "\n";
  std::fputs(line.c_str(), stderr);
  return ExitCode(error.code);
}

Status Print(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return OkStatus();
  return Error{ErrorCode::kIo, std::string("cannot write to stdout: ") + std::strerror(errno)};
}

int RunTool(std::string_view tool, const std::function<Result<int>()>& body) {
  try {
    const Result<int> exit_code = body();
    return exit_code ? *exit_code : Fail(tool, exit_code.error());
  } catch (const std::bad_alloc&) {
    return Fail(tool, {ErrorCode::kIo, "this computer ran out of memory"});
  } catch (const std::exception& error) {
    return Fail(tool, {ErrorCode::kInternal, std::string("internal error: ") + error.what()});
  }
}

}  // namespace stowage
