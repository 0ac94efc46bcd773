#include "planner/plan/plan_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "planner/formats/json_members.h"
#include "planner/formats/quoted.h"
#include "planner/machine/machine_json.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

// Sums of up to kMost… of these stay below 2^63.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
constexpr std::int64_t kMostCount = std::int64_t{1} << 31;
constexpr std::int64_t kMostBatch = 65'536;  // as on the command line
constexpr std::int64_t kMostTokens = 16'777'216;
constexpr std::size_t kMostArenas = 1024;
constexpr std::size_t kMostParts = 64;           // of one tensor
constexpr std::size_t kMostPlacements = 65'536;  // they are compared in pairs
constexpr std::size_t kMostDimensions = 16;

// ---- writing --------------------------------------------------------------------------------------------------------

Json WriteTensor(const TensorPlan& t) {
  Json out = {{"name", t.name}, {"dtype", Name(t.dtype)}, {"shape", t.shape}, {"device", t.device}};
  if (t.scales > Bytes(0)) out["scales_bytes"] = t.scales.value();
  if (!t.block.empty()) out["block"] = t.block;
  if (!t.tied_to.empty()) out["tied_to"] = t.tied_to;
  Json parts = Json::array();
  for (const Residency& r : t.parts) {
    Json part = {{"where", Name(r.where)}};
    if (r.phases != "*") part["phases"] = r.phases;
    part["pool"] = r.pool;
    if (!r.arena.empty()) part["arena"] = r.arena;
    part["offset"] = r.offset.value();
    if (r.row_begin != 0 || r.row_end != t.Rows()) part["rows"] = {r.row_begin, r.row_end};
    parts.push_back(std::move(part));
  }
  out["parts"] = std::move(parts);
  return out;
}

Json WriteRequest(const Request& r) {
  Json out = {{"batch", r.batch}, {"prompt_tokens", r.prompt_tokens}, {"new_tokens", r.new_tokens}};
  if (r.dtype) out["dtype"] = Name(*r.dtype);
  if (!r.quantization.empty()) out["quantization"] = r.quantization;
  if (r.kv) out["kv"] = Name(*r.kv);
  if (r.all_logits) out["all_logits"] = true;
  if (r.loading.mode) out["load"] = Name(*r.loading.mode);
  if (r.loading.dtype) out["load_dtype"] = Name(*r.loading.dtype);
  if (r.loading.as_stored) out["load_dtype"] = "auto";
  if (r.loading.warm) out["page_cache"] = "warm";
  return out;
}

Json WriteModel(const std::string& name, const ModelFingerprint& m) {
  Json out = {{"name", name},
              {"source", m.source},
              {"parameters", m.parameters},
              {"weights_bytes", m.weights.value()},
              {"tensors", m.tensors},
              {"tensors_hash", m.tensors_hash},
              {"config", Json::object()}};
  for (const auto& [key, value] : m.config) out["config"][key] = value;
  return out;
}

Json WritePlacement(const Placement& p) {
  Json out = {{"name", p.name}, {"arena", p.arena}, {"offset", p.offset.value()}, {"bytes", p.bytes.value()}};
  if (p.phase != "*") out.update({{"phase", p.phase}, {"alive", {p.first, p.last}}});
  return out;
}

// ---- reading --------------------------------------------------------------------------------------------------------

std::int64_t ReadCount(JsonScanner& in, std::int64_t most) {
  const std::int64_t value = in.Integer();
  if (in.ok() && value > most) in.Fail(fmt::format("{} is more than {}", value, most));
  return value;
}
Bytes ReadBytes(JsonScanner& in) { return Bytes(ReadCount(in, kMostBytes)); }

JsonMember Text(JsonScanner& in, std::string_view name, bool required, std::string& value) {
  return {name, required, [&] { value = in.String(); }};
}
JsonMember Size(JsonScanner& in, std::string_view name, Bytes& value) {
  return {name, kRequired, [&] { value = ReadBytes(in); }};
}
JsonMember Count(JsonScanner& in, std::string_view name, std::int64_t most, std::int64_t& value) {
  return {name, kRequired, [&in, &value, most] { value = ReadCount(in, most); }};
}

// [begin, end]
std::pair<std::int64_t, std::int64_t> ReadRange(JsonScanner& in) {
  std::array<std::int64_t, 2> range = {0, 0};
  std::size_t count = 0;
  ReadItems(in, [&] {
    const std::int64_t value = ReadCount(in, std::numeric_limits<std::int32_t>::max());
    if (count < range.size()) range[count] = value;
    ++count;
  });
  if (count != range.size()) in.Fail("expected two numbers");
  return {range[0], range[1]};
}

DType ReadDType(JsonScanner& in) {
  const std::string text(in.String());
  const std::optional<DType> dtype = ParseDType(text);
  if (!dtype) in.Fail(fmt::format("{} is no dtype", Quoted(text)));
  return dtype.value_or(DType::kF32);
}

KvCache ReadKvCache(JsonScanner& in) {
  const std::string text(in.String());
  const std::optional<KvCache> cache = ParseKvCache(text);
  if (!cache) in.Fail(fmt::format("{} is no kind of cache: none, dynamic or static", Quoted(text)));
  return cache.value_or(KvCache::kStatic);
}

Where ReadWhere(JsonScanner& in) {
  const std::string text(in.String());
  for (const Where w : {Where::kResident, Where::kStreamed, Where::kInPlace, Where::kComputed}) {
    if (text == Name(w)) return w;
  }
  in.Fail(fmt::format("{} is not resident, streamed, in_place or computed", Quoted(text)));
  return Where::kResident;
}

// row_end -1 stands for the tensor's last: its shape may come later in the text.
Residency ReadPart(JsonScanner& in) {
  Residency r;
  r.row_end = -1;
  ReadMembers(in, "a part",
              {{"where", kRequired, [&] { r.where = ReadWhere(in); }},
               Text(in, "phases", kOptional, r.phases),
               Text(in, "pool", kRequired, r.pool),
               Text(in, "arena", kOptional, r.arena),
               Size(in, "offset", r.offset),
               {"rows", kOptional, [&] { std::tie(r.row_begin, r.row_end) = ReadRange(in); }}});
  return r;
}

Shape ReadShape(JsonScanner& in) {
  Shape shape;
  std::int64_t elements = 1;
  ReadItems(in, [&] {
    shape.push_back(ReadCount(in, kMostBytes));
    const bool overflow = __builtin_mul_overflow(elements, shape.back(), &elements);
    if (overflow || elements > kMostBytes) return in.Fail("a shape with more elements than any memory");
    if (shape.size() > kMostDimensions) in.Fail(fmt::format("more than {} dimensions", kMostDimensions));
  });
  return shape;
}

void ReadTensor(JsonScanner& in, std::vector<TensorPlan>& tensors) {
  TensorPlan t;
  const auto part = [&] {
    t.parts.push_back(ReadPart(in));
    if (t.parts.size() > kMostParts) in.Fail(fmt::format("a tensor of more than {} parts", kMostParts));
  };
  ReadMembers(in, "a tensor",
              {Text(in, "name", kRequired, t.name),
               {"dtype", kRequired, [&] { t.dtype = ReadDType(in); }},
               {"shape", kRequired, [&] { t.shape = ReadShape(in); }},
               Text(in, "device", kRequired, t.device),
               Text(in, "block", kOptional, t.block),
               Text(in, "tied_to", kOptional, t.tied_to),
               {"scales_bytes", kOptional, [&] { t.scales = Bytes(ReadCount(in, kMostBytes)); }},
               {"parts", kRequired, [&] { ReadItems(in, part); }}});
  for (Residency& r : t.parts) {
    if (r.row_end == -1) r.row_end = t.Rows();
    if (r.row_begin > r.row_end || r.row_end > t.Rows()) {
      in.Fail(
          fmt::format("rows [{}, {}) of tensor {}, which has {}", r.row_begin, r.row_end, Quoted(t.name), t.Rows()));
    }
  }
  tensors.push_back(std::move(t));
}

Request ReadRequest(JsonScanner& in) {
  Request r;
  const auto loading = [&](std::string_view name, auto read) {
    return JsonMember{name, kOptional, [&in, &r, read] {
                        const Status status = read(std::string(in.String()), r.loading);
                        if (in.ok() && !status) in.Fail(status.error().message);
                      }};
  };
  ReadMembers(in, "the request",
              {Count(in, "batch", kMostBatch, r.batch),
               Count(in, "prompt_tokens", kMostTokens, r.prompt_tokens),
               Count(in, "new_tokens", kMostTokens, r.new_tokens),
               {"dtype", kOptional, [&] { r.dtype = ReadDType(in); }},
               Text(in, "quantization", kOptional, r.quantization),
               {"kv", kOptional, [&] { r.kv = ReadKvCache(in); }},
               {"all_logits", kOptional, [&] { r.all_logits = in.Boolean(); }},
               loading("load", ReadLoadMode),
               loading("load_dtype", ReadLoadDType),
               loading("page_cache", ReadPageCache)});
  r.prompt_given = true;
  if (in.ok() && (r.batch < 1 || r.prompt_tokens < 1)) in.Fail("the request has no sequence or no prompt");
  return r;
}

// Adds an entry for `key`, which must be new; false when it is not.
template <class Value>
bool AddKey(JsonScanner& in, std::string_view key, std::vector<std::pair<std::string, Value>>& entries) {
  const bool known = std::any_of(entries.begin(), entries.end(), [&](const auto& e) { return e.first == key; });
  if (known) in.Fail(fmt::format("a second {}", Quoted(key)));
  if (entries.size() >= kMostArenas) in.Fail(fmt::format("more than {} entries", kMostArenas));
  if (in.ok()) entries.emplace_back(key, Value());
  return in.ok();
}

void ReadModel(JsonScanner& in, PlanFile& file) {
  ModelFingerprint& m = file.model;
  const auto config = [&] {
    in.BeginObject();
    for (std::string_view key; in.NextKey(key);) {
      if (!AddKey(in, key, m.config)) return;
      m.config.back().second = in.String();
    }
  };
  ReadMembers(in, "the model",
              {Text(in, "name", kRequired, file.plan.model),
               Text(in, "source", kRequired, m.source),
               {"parameters", kRequired, [&] { m.parameters = in.Integer(); }},
               {"weights_bytes", kRequired, [&] { m.weights = Bytes(in.Integer()); }},
               Count(in, "tensors", kMostCount, m.tensors),
               Text(in, "tensors_hash", kRequired, m.tensors_hash),
               {"config", kRequired, config}});
}

void ReadBudgets(JsonScanner& in, Plan& plan) {
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    if (!AddKey(in, key, plan.budgets)) return;
    plan.budgets.back().second = ReadBytes(in);
  }
}

void ReadReservation(JsonScanner& in, Plan& plan) {
  auto& [pool, bytes] = plan.reservations.emplace_back();
  ReadMembers(in, "a reservation", {Text(in, "pool", kRequired, pool), Size(in, "bytes", bytes)});
  if (plan.reservations.size() > kMostArenas) in.Fail(fmt::format("more than {} reservations", kMostArenas));
}

void ReadArena(JsonScanner& in, Plan& plan) {
  ArenaPlan& a = plan.arenas.emplace_back();
  ReadMembers(
      in, "an arena",
      {Text(in, "name", kRequired, a.name), Text(in, "pool", kRequired, a.pool), Text(in, "kind", kRequired, a.kind),
       Size(in, "bytes", a.bytes), Size(in, "lower_bound", a.lower_bound)});
  if (plan.arenas.size() > kMostArenas) in.Fail(fmt::format("more than {} arenas", kMostArenas));
}

void ReadPlacement(JsonScanner& in, Plan& plan) {
  Placement& p = plan.placements.emplace_back();
  p.phase = "*";
  bool has_times = false;
  const auto alive = [&] {
    const auto [first, last] = ReadRange(in);
    has_times = true;
    p.first = static_cast<std::int32_t>(first);
    p.last = static_cast<std::int32_t>(last);
  };
  ReadMembers(in, "a placement",
              {Text(in, "name", kRequired, p.name),
               Text(in, "arena", kRequired, p.arena),
               Size(in, "offset", p.offset),
               Size(in, "bytes", p.bytes),
               Text(in, "phase", kOptional, p.phase),
               {"alive", kOptional, alive}});
  if (has_times && p.phase == "*") in.Fail("'alive' without a phase");
  if (plan.placements.size() > kMostPlacements) in.Fail(fmt::format("more than {} placements", kMostPlacements));
}

void ReadVersion(JsonScanner& in) {
  const std::int64_t version = in.Integer();
  if (in.ok() && version != kPlanVersion) {
    in.Fail(fmt::format("plan version {} is not {}, the one this program reads", version, kPlanVersion));
  }
}

}  // namespace

std::string WritePlanJson(const PlanFile& file) {
  const Plan& plan = file.plan;
  Json out = {{"stowage_plan", plan.version},
              {"model", WriteModel(plan.model, file.model)},
              {"machine", Json::parse(WriteMachineJson(file.machine), nullptr, /*allow_exceptions=*/false)},
              {"request", WriteRequest(plan.request)},
              {"strategy", plan.strategy},
              {"runtime", plan.runtime}};
  out["budgets"] = Json::object();
  for (const auto& [pool, bytes] : plan.budgets) out["budgets"][pool] = bytes.value();
  out["reservations"] = Json::array();
  for (const auto& [pool, bytes] : plan.reservations)
    out["reservations"].push_back({{"pool", pool}, {"bytes", bytes.value()}});
  out["arenas"] = Json::array();
  for (const ArenaPlan& a : plan.arenas) {
    out["arenas"].push_back({{"name", a.name},
                             {"pool", a.pool},
                             {"kind", a.kind},
                             {"bytes", a.bytes.value()},
                             {"lower_bound", a.lower_bound.value()}});
  }
  out["tensors"] = Json::array();
  for (const TensorPlan& t : plan.tensors) out["tensors"].push_back(WriteTensor(t));
  out["placements"] = Json::array();
  for (const Placement& p : plan.placements) out["placements"].push_back(WritePlacement(p));
  out["refused"] = plan.refused;
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<PlanFile> ReadPlanJson(std::string_view path, std::string_view text) {
  PlanFile file;
  Plan& plan = file.plan;
  JsonScanner in(text);
  ReadMembers(in, "a plan",
              {{"stowage_plan", kRequired, [&] { ReadVersion(in); }},
               {"model", kRequired, [&] { ReadModel(in, file); }},
               {"machine", kRequired, [&] { ReadMachine(in, file.machine); }},
               {"request", kRequired, [&] { plan.request = ReadRequest(in); }},
               Text(in, "strategy", kRequired, plan.strategy),
               Text(in, "runtime", kRequired, plan.runtime),
               {"budgets", kRequired, [&] { ReadBudgets(in, plan); }},
               {"reservations", kRequired, [&] { ReadItems(in, [&] { ReadReservation(in, plan); }); }},
               {"arenas", kRequired, [&] { ReadItems(in, [&] { ReadArena(in, plan); }); }},
               {"tensors", kRequired, [&] { ReadItems(in, [&] { ReadTensor(in, plan.tensors); }); }},
               {"placements", kRequired, [&] { ReadItems(in, [&] { ReadPlacement(in, plan); }); }},
               {"refused", kRequired, [&] { ReadItems(in, [&] { plan.refused.emplace_back(in.String()); }); }}});
  in.End();
  if (!in.ok()) return JsonError(path, text, in);
  Status status = CheckMachine(file.machine);
  if (!status) return std::move(status).error().In(path);
  return file;
}

}  // namespace stowage
