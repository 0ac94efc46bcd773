#include "tools/common/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "planner/base/text.h"
#include "planner/quant/scheme.h"
#include "sim/memory/caching_allocator.h"
#include "tools/common/read_number.h"

namespace stowage {

Result<std::int64_t> ReadNumber(std::string_view text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < least || value > most) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("must be a whole number from {} to {}, not '{}'", least, most, text)};
  }
  return value;
}

void AddModelOption(CommandLine& line, std::string* model) {
  line.Option("--model", model, "a known name (llama-8b), folder, file, or org/name in the Hugging Face cache");
  line.Require("--model");
}

void AddMachineOptions(CommandLine& line, MachineSpec* spec, bool gpu_required) {
  line.Option("--gpu", &spec->gpus, "15GB, t4, rtx4090:22GiB, 2x24GiB, several with commas, or auto: this computer's");
  if (gpu_required) line.Require("--gpu");
  line.Option("--cpu", &spec->cpu, "host memory to use, such as 30GB; without it what is available here");
  line.Option("--disk", &spec->disk, "disk space to use, such as 500GB; without it what is free at --disk-path");
  line.Option("--disk-path", &spec->disk_path, "the folder whose disk is meant (the current one)");
  line.Option(
      "--alloc-conf",
      [spec](const std::string& text) -> Status {
        const Result<CachingAllocatorSettings> settings = CachingAllocatorSettings::Parse(text);
        if (!settings) return settings.error();
        spec->torch_allocator = text;
        return OkStatus();
      },
      "PYTORCH_ALLOC_CONF of torch strategies: expandable_segments:True,max_split_size_mb:128 and the like");
  line.Option("--machine", &spec->profile_path,
              "a file with rates and budgets that replace those of the table; sizes given here win");
  line.Replaces("--machine", {}, {"--gpu"});
}

void AddFormatOption(CommandLine& line, Request* request) {
  line.Option(
      "--dtype",
      [request](const std::string& text) -> Status {
        STOWAGE_TRY(const NumberFormat format, ParseNumberFormat(text));
        request->dtype = format.dtype;
        request->quantization = format.scheme == nullptr ? "" : format.scheme->name;
        return OkStatus();
      },
      "bf16, fp16, fp32, int8, nf4, fp8, gptq, q4_k_m and more; auto, or without it, as the checkpoint holds it");
}

void AddRequestOptions(CommandLine& line, Request* request) {
  AddFormatOption(line, request);
  line.Option("--batch", &request->batch, 1, kMostBatch, fmt::format("sequences at once ({})", request->batch));
  line.Option(
      "--prompt",
      [request](const std::string& text) -> Status {
        STOWAGE_TRY(request->prompt_tokens, ReadNumber(text, 1, kMostTokens));
        request->prompt_given = true;
        return OkStatus();
      },
      fmt::format("tokens of each prompt ({}; of whisper's decoder: 4)", request->prompt_tokens));
  line.Option("--new", &request->new_tokens, 0, kMostTokens,
              fmt::format("tokens to generate for each sequence ({})", request->new_tokens));
  line.Option(
      "--kv",
      [request](const std::string& text) -> Status {
        request->kv = ParseKvCache(text);
        if (request->kv) return OkStatus();
        return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is not a cache; dynamic, static and none are", text)};
      },
      "dynamic, static, or none: the whole context again for each token; without it each runtime's own");
}

void AddLoadingOptions(CommandLine& line, Loading* loading) {
  line.Option(
      "--load", [loading](const std::string& text) { return ReadLoadMode(text, *loading); },
      "how weights are loaded: " + Join(LoadModeNames(), ", ") + "; without it each runtime's own");
  line.Option(
      "--load-dtype", [loading](const std::string& text) { return ReadLoadDType(text, *loading); },
      "load in fp32, fp16, bf16 or auto (as stored), whatever is computed with (naive: fp32 unless --dtype)");
  line.Option(
      "--page-cache", [loading](const std::string& text) { return ReadPageCache(text, *loading); },
      "cold: files are read from the disk (cold); warm: from host memory");
}

void AddJsonOption(CommandLine& line, bool* json) { line.Flag("--json", json, "print JSON"); }

Result<std::vector<std::int64_t>> ParseTokens(std::string_view text) {
  std::vector<std::int64_t> tokens;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    Result<std::int64_t> token =
        ReadNumber(text.substr(begin, comma - begin), 0, std::numeric_limits<std::int32_t>::max());
    if (!token) return std::move(token).error().In(fmt::format("token {}", tokens.size() + 1));
    tokens.push_back(*token);
    begin = comma + 1;
  }
  return tokens;
}

}  // namespace stowage
