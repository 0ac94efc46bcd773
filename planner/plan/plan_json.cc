#include "planner/plan/plan_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

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
  if (r.all_logits) out["all_logits"] = true;
  return out;
}

// Reads fields of one JSON object; the first thing wrong is kept and the rest read as defaults.
class Fields {
 public:
  Fields(const Json& object, std::string where, std::string* error)
      : object_(object), where_(std::move(where)), error_(error) {
    if (!object.is_object()) Complain("is not an object");
  }

  std::string Text(const char* key, std::string fallback = "\x01") const {
    const Json* v = Find(key, fallback == "\x01");
    if (v == nullptr) return fallback == "\x01" ? "" : fallback;
    if (!v->is_string()) return Complain(fmt::format("{} is {}, not a string", key, v->dump())), "";
    return v->get<std::string>();
  }
  std::int64_t Number(const char* key, bool required = true) const {
    const Json* v = Find(key, required);
    if (v == nullptr) return 0;
    if (!v->is_number_integer() || (v->is_number_unsigned() && v->get<std::uint64_t>() > INT64_MAX) ||
        v->get<std::int64_t>() < 0) {
      return Complain(fmt::format("{} is {}, not a whole number from 0 on", key, v->dump())), 0;
    }
    return v->get<std::int64_t>();
  }
  bool Truth(const char* key) const {
    const Json* v = Find(key, false);
    return v != nullptr && v->is_boolean() && v->get<bool>();
  }
  // Numbers of an array; `count` 0: any.
  std::vector<std::int64_t> Numbers(const char* key, std::size_t count, bool required) const {
    const Json* v = Find(key, required);
    if (v == nullptr) return {};
    bool fine = v->is_array() && (count == 0 || v->size() == count);
    for (const Json& n : *v) fine = fine && n.is_number_integer() && n.get<std::int64_t>() >= 0;
    if (!fine)
      return Complain(fmt::format("{} is {}, not a list of whole numbers", key, v->dump())),
             std::vector<std::int64_t>(count);
    return v->get<std::vector<std::int64_t>>();
  }
  const Json& List(const char* key) const {
    static const Json kEmpty = Json::array();
    const Json* v = Find(key, true);
    if (v == nullptr) return kEmpty;
    if (!v->is_array()) return Complain(fmt::format("{} is not a list", key)), kEmpty;
    return *v;
  }
  const Json* Find(const char* key, bool required) const {
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(key);
    if (it != object_.end()) return &*it;
    if (required) Complain(fmt::format("has no '{}'", key));
    return nullptr;
  }
  void Complain(const std::string& what) const {
    if (error_->empty()) *error_ = fmt::format("{} {}", where_, what);
  }
  Fields In(const Json& object, std::string where) const { return {object, std::move(where), error_}; }

 private:
  const Json& object_;
  std::string where_;
  std::string* error_;
};

DType ReadDType(const Fields& f, const char* key) {
  const std::string text = f.Text(key);
  const std::optional<DType> dtype = ParseDType(text);
  if (!dtype) f.Complain(fmt::format("{} '{}' is no dtype", key, text));
  return dtype.value_or(DType::kF32);
}

Residency ReadPart(const Fields& f, const TensorPlan& tensor) {
  Residency r;
  const std::string where = f.Text("where");
  bool known = false;
  for (const Where w : {Where::kResident, Where::kStreamed, Where::kInPlace}) {
    if (where != Name(w)) continue;
    r.where = w;
    known = true;
  }
  if (!known) f.Complain(fmt::format("where '{}' is not resident, streamed or in_place", where));
  r.phases = f.Text("phases", "*");
  r.pool = f.Text("pool");
  r.arena = f.Text("arena", "");
  r.offset = Bytes(f.Number("offset"));
  const std::vector<std::int64_t> rows = f.Numbers("rows", 2, false);
  r.row_begin = rows.empty() ? 0 : rows[0];
  r.row_end = rows.empty() ? tensor.Rows() : rows[1];
  return r;
}

TensorPlan ReadTensor(const Fields& f) {
  TensorPlan t;
  t.name = f.Text("name");
  t.dtype = ReadDType(f, "dtype");
  t.shape = f.Numbers("shape", 0, true);
  std::int64_t elements = 1;
  for (const std::int64_t d : t.shape) {
    if (__builtin_mul_overflow(elements, d, &elements) || elements > (INT64_MAX >> 6)) {
      f.Complain("has a shape with more elements than any memory");
      t.shape.clear();
      break;
    }
  }
  t.scales = Bytes(f.Number("scales_bytes", false));
  if (t.scales.value() > (INT64_MAX >> 6)) {
    f.Complain("has more scales than any memory");
    t.scales = Bytes(0);
  }
  t.device = f.Text("device");
  t.block = f.Text("block", "");
  t.tied_to = f.Text("tied_to", "");
  for (const Json& part : f.List("parts"))
    t.parts.push_back(ReadPart(f.In(part, "a part of tensor '" + t.name + "'"), t));
  return t;
}

Request ReadRequest(const Fields& f) {
  Request r;
  r.batch = f.Number("batch");
  r.prompt_tokens = f.Number("prompt_tokens");
  r.new_tokens = f.Number("new_tokens");
  if (f.Find("dtype", false) != nullptr) r.dtype = ReadDType(f, "dtype");
  r.quantization = f.Text("quantization", "");
  r.all_logits = f.Truth("all_logits");
  return r;
}

void ReadPools(const Fields& f, Plan& plan) {
  if (const Json* budgets = f.Find("budgets", true)) {
    const Fields in = f.In(*budgets, "budgets");
    if (budgets->is_object()) {
      for (const auto& [pool, bytes] : budgets->items())
        plan.budgets.emplace_back(pool, Bytes(in.Number(pool.c_str())));
    }
  }
  for (const Json& r : f.List("reservations")) {
    const Fields in = f.In(r, "a reservation");
    plan.reservations.emplace_back(in.Text("pool"), Bytes(in.Number("bytes")));
  }
  for (const Json& a : f.List("arenas")) {
    const Fields in = f.In(a, "an arena");
    plan.arenas.push_back({in.Text("name"), in.Text("pool"), in.Text("kind"), Bytes(in.Number("bytes")),
                           Bytes(in.Number("lower_bound"))});
  }
}

void ReadPlacements(const Fields& f, Plan& plan) {
  for (const Json& p : f.List("placements")) {
    const Fields in = f.In(p, "a placement");
    const std::vector<std::int64_t> alive = in.Numbers("alive", 2, false);
    plan.placements.push_back({in.Text("name"), in.Text("arena"), Bytes(in.Number("offset")), Bytes(in.Number("bytes")),
                               in.Text("phase", "*"), alive.empty() ? 0 : static_cast<std::int32_t>(alive[0]),
                               alive.empty() ? 0 : static_cast<std::int32_t>(alive[1])});
  }
}

}  // namespace

std::string WritePlanJson(const Plan& plan) {
  Json out = {{"stowage_plan", plan.version},
              {"model", plan.model},
              {"strategy", plan.strategy},
              {"runtime", plan.runtime},
              {"request", WriteRequest(plan.request)}};
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
  for (const Placement& p : plan.placements) {
    Json placement = {{"name", p.name}, {"arena", p.arena}, {"offset", p.offset.value()}, {"bytes", p.bytes.value()}};
    if (p.phase != "*") placement.update({{"phase", p.phase}, {"alive", {p.first, p.last}}});
    out["placements"].push_back(std::move(placement));
  }
  out["refused"] = plan.refused;
  return out.dump(1) + "\n";
}

Result<Plan> ReadPlanJson(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Error{ErrorCode::kInvalidInput, "plan: not valid JSON"};
  std::string error;
  const Fields f(json, "plan", &error);
  Plan plan;
  const std::int64_t version = f.Number("stowage_plan");
  if (error.empty() && version != kPlanVersion) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("plan: version {} is not {}, the one this program reads", version, kPlanVersion)};
  }
  plan.model = f.Text("model");
  plan.strategy = f.Text("strategy");
  plan.runtime = f.Text("runtime");
  if (const Json* request = f.Find("request", true)) plan.request = ReadRequest(f.In(*request, "request"));
  ReadPools(f, plan);
  for (const Json& t : f.List("tensors")) plan.tensors.push_back(ReadTensor(f.In(t, "a tensor")));
  ReadPlacements(f, plan);
  for (const Json& r : f.List("refused")) plan.refused.push_back(r.is_string() ? r.get<std::string>() : r.dump());
  if (!error.empty()) return Error{ErrorCode::kInvalidInput, error};
  return plan;
}

}  // namespace stowage
