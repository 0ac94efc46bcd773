// Options that several tools share. Each function adds to `line` and fills *target when the line is parsed.
#pragma once

#include <string>

#include "planner/machine/build_machine.h"
#include "planner/model/request.h"
#include "tools/common/command_line.h"

namespace stowage {

// Larger values are taken for slips of the finger; none is a limit of the planner.
constexpr std::int64_t kMostBatch = 65'536;
constexpr std::int64_t kMostTokens = 16'777'216;

void AddModelOption(CommandLine& line, std::string* model);  // --model, required
// --gpu (may be repeated), --cpu, --disk, --disk-path, --alloc-conf, --machine
void AddMachineOptions(CommandLine& line, MachineSpec* spec, bool gpu_required = true);
// --dtype alone: sets Request::dtype or Request::quantization.
void AddFormatOption(CommandLine& line, Request* request);
void AddRequestOptions(CommandLine& line, Request* request);  // --dtype, --batch, --prompt, --new, --kv
void AddLoadingOptions(CommandLine& line, Loading* loading);  // --load, --load-dtype, --page-cache
void AddJsonOption(CommandLine& line, bool* json);            // --json

// "1,2,3": what `execute --tokens` takes. kInvalidInput: empty, not a number, negative.
Result<std::vector<std::int64_t>> ParseTokens(std::string_view text);

}  // namespace stowage
