#include "tools/check_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "planner/base/text.h"
#include "planner/formats/file.h"
#include "planner/formats/json_members.h"
#include "planner/machine/size.h"
#include "planner/plan/plan.h"
#include "planner/quant/scheme.h"
#include "planner/schedule/check.h"
#include "planner/strategy/registry.h"
#include "sim/engine/engine.h"
#include "sim/memory/caching_allocator.h"
#include "sim/rank/rank.h"
#include "tools/common/options.h"

namespace stowage {
namespace {

constexpr int kCasesVersion = 1;
constexpr std::size_t kMostCases = 10'000;
constexpr std::size_t kMostPools = 64;
constexpr Bytes kMostTolerance{1'000'000'000'000'000};

// A string, or a whole number as one: sizes are written both ways.
std::string ReadText(JsonScanner& in) {
  return in.NextIsString() ? std::string(in.String()) : fmt::format("{}", in.Integer());
}

std::int64_t ReadCount(JsonScanner& in, std::int64_t least, std::int64_t most) {
  const std::int64_t value = in.Integer();
  if (in.ok() && (value < least || value > most)) in.Fail(fmt::format("{} is not in [{}, {}]", value, least, most));
  return value;
}

Tolerance ReadTolerance(JsonScanner& in) {
  const Result<Tolerance> tolerance = ParseTolerance(ReadText(in));
  if (!tolerance) in.Fail(tolerance.error().message);
  return tolerance ? *tolerance : Tolerance();
}

void ReadGpus(JsonScanner& in, std::vector<std::string>& gpus) {
  const auto one = [&] {
    gpus.push_back(ReadText(in));
    if (gpus.back() == "auto") in.Fail("gpu 'auto' is another machine on every computer; name it");
    if (gpus.size() > kMostPools) in.Fail(fmt::format("more than {} gpus", kMostPools));
  };
  if (in.NextIsString()) {
    one();
  } else {
    ReadItems(in, one);
  }
}

void ReadFormat(JsonScanner& in, Request& request) {
  const Result<NumberFormat> format = ParseNumberFormat(std::string(in.String()));
  if (!format) return in.Fail(format.error().message);
  request.dtype = format->dtype;
  request.quantization = format->scheme == nullptr ? "" : format->scheme->name;
}

void ReadKv(JsonScanner& in, Request& request) {
  const std::string text(in.String());
  request.kv = ParseKvCache(text);
  if (!request.kv) in.Fail(fmt::format("'{}' is not a cache; dynamic, static and none are", text));
}

void ReadLoading(JsonScanner& in, Loading& loading, Status (*read)(std::string_view, Loading&)) {
  const Status status = read(std::string(in.String()), loading);
  if (in.ok() && !status) in.Fail(status.error().message);
}

void ReadAllocConf(JsonScanner& in, MachineSpec& machine) {
  machine.torch_allocator = in.String();
  const auto settings = CachingAllocatorSettings::Parse(*machine.torch_allocator);
  if (!settings) in.Fail(settings.error().message);
}

void ReadBudget(JsonScanner& in, CaseLimits& limits) {
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    limits.budgets.emplace_back(key, Bytes());
    const Result<Bytes> size = ParseSize(ReadText(in));
    if (!size) return in.Fail(size.error().message);
    limits.budgets.back().second = *size;
    if (limits.budgets.size() > kMostPools) return in.Fail(fmt::format("more than {} budgets", kMostPools));
  }
}

// A tolerance that the case does not give stays absent.
std::optional<Tolerance> ReadCase(JsonScanner& in, CheckCase& c) {
  std::optional<Tolerance> tolerance;
  MachineSpec& m = c.task.machine;
  Request& r = c.task.request;
  ReadMembers(in, "a case",
              {{"name", kRequired, [&] { c.name = in.String(); }},
               {"model", kRequired, [&] { c.task.model = in.String(); }},
               {"machine", kOptional, [&] { m.profile_path = in.String(); }},
               {"gpu", kOptional, [&] { ReadGpus(in, m.gpus); }},
               {"cpu", kOptional, [&] { m.cpu = ReadText(in); }},
               {"disk", kOptional, [&] { m.disk = ReadText(in); }},
               {"alloc_conf", kOptional, [&] { ReadAllocConf(in, m); }},
               {"strategy", kRequired, [&] { c.strategy = in.String(); }},
               {"dtype", kOptional, [&] { ReadFormat(in, r); }},
               {"kv", kOptional, [&] { ReadKv(in, r); }},
               {"batch", kOptional, [&] { r.batch = ReadCount(in, 1, kMostBatch); }},
               {"prompt", kOptional, [&] { r.prompt_tokens = ReadCount(in, 1, kMostTokens), r.prompt_given = true; }},
               {"new", kOptional, [&] { r.new_tokens = ReadCount(in, 0, kMostTokens); }},
               {"load", kOptional, [&] { ReadLoading(in, r.loading, ReadLoadMode); }},
               {"load_dtype", kOptional, [&] { ReadLoading(in, r.loading, ReadLoadDType); }},
               {"page_cache", kOptional, [&] { ReadLoading(in, r.loading, ReadPageCache); }},
               {"budget", kOptional, [&] { ReadBudget(in, c.limits); }},
               {"tolerance", kOptional, [&] { tolerance = ReadTolerance(in); }}});
  if (in.ok() && c.name.empty()) in.Fail("a case without a name");
  if (in.ok() && !m.profile_path && (m.gpus.empty() || !m.cpu))
    in.Fail("a case has neither 'machine' nor 'gpu' and 'cpu'");
  if (!m.profile_path && !m.disk) m.disk = "1TB";
  return tolerance;
}

std::string WhatOf(const CheckCase& c) {
  const MachineSpec& m = c.task.machine;
  const Request& r = c.task.request;
  std::string out = fmt::format("{}, {}", c.task.model, c.strategy);
  if (m.profile_path) out += ", machine " + *m.profile_path;
  if (!m.gpus.empty()) out += ", gpu " + Join(m.gpus, ",");
  if (m.cpu) out += ", cpu " + *m.cpu;
  if (m.disk) out += ", disk " + *m.disk;
  if (m.torch_allocator) out += ", " + *m.torch_allocator;
  out += fmt::format(", batch {}, prompt {}, new {}", r.batch, r.prompt_tokens, r.new_tokens);
  if (r.dtype) out += fmt::format(", {}", Name(*r.dtype));
  if (!r.quantization.empty()) out += ", " + r.quantization;
  if (r.kv) out += fmt::format(", {} cache", Name(*r.kv));
  return r.loading.Default() ? out : out + ", " + Describe(r.loading);
}

// What is there beside the cases file is meant; anything else is a name.
std::string Resolved(const std::string& model, const std::string& folder) {
  if (model.starts_with('/')) return model;
  const std::string path = JoinPath(folder, model);
  return IsFolder(path) || IsFile(path) ? path : model;
}

void ReadVersion(JsonScanner& in) {
  const std::int64_t version = in.Integer();
  if (in.ok() && version != kCasesVersion) {
    in.Fail(fmt::format("cases version {} is not {}, the one this program reads", version, kCasesVersion));
  }
}

Result<CaseRecord> Run(const CheckCase& c) {
  STOWAGE_TRY(const LoadedTask loaded, Load(c.task));
  const std::vector<Strategy> all = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, c.strategy));
  STOWAGE_TRY(const Lowered lowered, LowerBest(*choice.strategy, loaded.task(), choice.parameters));
  STOWAGE_RETURN_IF_ERROR(CheckPlan(lowered.plan));
  STOWAGE_RETURN_IF_ERROR(CheckSchedule(lowered.schedule));
  STOWAGE_TRY(const Timeline timeline, Simulate(lowered.schedule, loaded.machine));
  if (timeline.out_of_memory) {
    const OutOfMemory& oom = *timeline.out_of_memory;
    return Error{ErrorCode::kOutOfMemory,
                 fmt::format("out of memory in {} at '{}': {} wanted, {} of {} left", oom.phase, oom.step,
                             FormatBytes(oom.requested), FormatBytes(oom.available), oom.pool)};
  }
  return CaseRecord{c.name, c.what, PeaksOf(timeline)};
}

}  // namespace

Result<Tolerance> ParseTolerance(std::string_view text) {
  Tolerance out;
  if (!text.ends_with('%')) {
    STOWAGE_TRY(out.bytes, ParseSize(text));
    if (out.bytes <= kMostTolerance) return out;
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("tolerance '{}' is more than {}", text, FormatBytes(kMostTolerance))};
  }
  const std::string_view number = text.substr(0, text.size() - 1);
  double percent = 0;
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), percent);
  if (error != std::errc() || stop != number.data() + number.size() || !(percent >= 0 && percent <= 1000)) {
    return Error{ErrorCode::kInvalidInput, fmt::format("tolerance '{}' is not 0% to 1000%", text)};
  }
  out.fraction = percent / 100;
  return out;
}

Result<std::vector<CheckCase>> ReadCases(const std::string& path, std::string_view text) {
  std::vector<CheckCase> cases;
  std::vector<std::optional<Tolerance>> tolerances;
  Tolerance common;
  JsonScanner in(text);
  const auto one = [&] {
    CheckCase& c = cases.emplace_back();
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(in.position()), '\n') + 1;
    tolerances.push_back(ReadCase(in, c));
    if (!in.ok()) return;
    c.place = fmt::format("{}:{}: case '{}'", path, line, c.name);
    c.what = WhatOf(c);
    c.task.model = Resolved(c.task.model, FolderName(path));
    if (std::optional<std::string>& machine = c.task.machine.profile_path)
      machine = Resolved(*machine, FolderName(path));
    const auto same = [&](const CheckCase& other) { return other.name == c.name; };
    if (std::count_if(cases.begin(), cases.end(), same) > 1) in.Fail(fmt::format("a second case '{}'", c.name));
    if (cases.size() > kMostCases) in.Fail(fmt::format("more than {} cases", kMostCases));
  };
  ReadMembers(in, "a cases file",
              {{"stowage_cases", kRequired, [&] { ReadVersion(in); }},
               {"tolerance", kOptional, [&] { common = ReadTolerance(in); }},
               {"cases", kRequired, [&] { ReadItems(in, one); }}});
  in.End();
  if (!in.ok()) return JsonError(path, text, in);
  if (cases.empty()) return Error{ErrorCode::kInvalidInput, fmt::format("{}: no cases", path)};
  for (std::size_t i = 0; i < cases.size(); ++i) cases[i].limits.tolerance = tolerances[i].value_or(common);
  return cases;
}

Result<CaseRecord> RunCase(const CheckCase& c) {
  Result<CaseRecord> record = Run(c);
  if (record || record.error().code == ErrorCode::kInfeasible || record.error().code == ErrorCode::kOutOfMemory) {
    return record;
  }
  return std::move(record).error().In(c.place);
}

}  // namespace stowage
