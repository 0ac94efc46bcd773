// Shell completion: `plan --completion bash` prints a script to source, or to install where the shell looks.
//
// The scripts know no option themselves: they ask the tool (`plan --completion words`, one word a line), so an installed
// script stays true when the tool changes.
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"

namespace stowage {

// `shell`: bash, zsh or fish. `commands`: the tool's first argument is a command with options of its own, which is
// asked for them. kInvalidInput for another shell.
Result<std::string> CompletionScript(std::string_view shell, std::string_view tool, bool commands);

}  // namespace stowage
