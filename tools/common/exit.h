// How a tool ends: what it prints and its exit code. 0 fine, 1 the check failed or nothing fits, 2 the input or the
// command line is wrong, 3 device or io failed.
#pragma once

#include <functional>
#include <string_view>

#include "planner/base/result.h"

namespace stowage {

// "plan: config.json: …" on stderr; the exit code of the error.
int Fail(std::string_view tool, const Error& error);

// Writes all of `text` to stdout; kIo when it does not get there (a full disk, a closed pipe).
Status Print(std::string_view text);

// Runs a tool's body and turns an error into its message and exit code. Exceptions of libraries (std::bad_alloc above
// all) end here, too.
//
//   int main(int argc, char** argv) { return RunTool("plan", [&] { return Plan(argc, argv); }); }
int RunTool(std::string_view tool, const std::function<Result<int>()>& body);

}  // namespace stowage
