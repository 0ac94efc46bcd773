// One comparison with accelerate or transformers: a module tree, options, and what came out.
//
//   {"tree": {"root": …}, "rules": "accelerate", "strategy": "auto", "max_memory": {"0": 100, "cpu": "1KB"},
//    "no_split": ["Block"], "dtype": "float16", "special": {"a.weight": "int8"}, "offload_buffers": true,
//    "fallback": true, "clean": false}                       all but the tree and max_memory may be absent
//
// gives {"sizes", "budgets", "map", "skipped", "homeless"} or {"error": "KeyError"}: the name of Python's exception.
#pragma once

#include <string>
#include <string_view>

namespace stowage {

std::string RunDeviceMapCase(std::string_view json);

}  // namespace stowage
