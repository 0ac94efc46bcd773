#include "reports/plan_json.h"

#include <nlohmann/json.hpp>
#include <string>

#include "reports/json.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Json ModelMembers(const ModelLine& model) {
  return {{"name", model.name},
          {"family", model.family},
          {"parameters", model.parameters},
          {"weights_bytes", model.weights.value()},
          {"dtype", model.dtype},
          {"layers", model.layers},
          {"kv_bytes_per_token", model.kv_per_token.value()},
          {"source", model.source},
          {"notes", model.notes}};
}

namespace {

Json MachineOf(const Machine& machine, const std::vector<StrategyLine>& strategies) {
  Json json = {{"name", machine.name},
               {"budget_bytes", Json::object()},
               {"reserved", Json::array()},
               {"assumptions", machine.assumptions}};
  for (const Pool& pool : machine.pools) json["budget_bytes"][pool.name] = pool.budget.value();
  for (const Reservation& r : machine.reservations) {
    json["reserved"].push_back({{"pool", r.pool},
                                {"name", r.name},
                                {"bytes", r.bytes.value()},
                                {"origin", Name(r.origin)},
                                {"source", r.source}});
  }
  json["smallest_budget_bytes"] = Json::object();
  for (const StrategyLine& line : strategies) {
    if (line.least_gpu) json["smallest_budget_bytes"][line.name] = line.least_gpu->value();
    for (std::size_t g = 0; g < line.least_gpus.size(); ++g) {
      json["smallest_budgets_bytes"][line.name]["gpu" + std::to_string(g)] = line.least_gpus[g].value();
    }
  }
  return json;
}

std::string_view BasisName(PlanBasis basis) {
  switch (basis) {
    case PlanBasis::kSimulated:
      return "simulated";
    case PlanBasis::kClosedForms:
      return "closed forms";
    case PlanBasis::kSizesOnly:
      return "sizes only";
  }
  return "";
}

}  // namespace

Json RequestMembers(const Request& request) {
  return {{"batch", request.batch},
          {"prompt_tokens", request.prompt_tokens},
          {"new_tokens", request.new_tokens},
          {"dtype", request.dtype                  ? Json(Name(*request.dtype))
                    : request.quantization.empty() ? Json()
                                                   : Json(request.quantization)},
          {"kv", request.kv ? Json(Name(*request.kv)) : Json()},
          {"load", request.loading.mode ? Json(Name(*request.loading.mode)) : Json()},
          {"load_dtype", request.loading.dtype       ? Json(Name(*request.loading.dtype))
                         : request.loading.as_stored ? Json("auto")
                                                     : Json()},
          {"page_cache", request.loading.warm ? "warm" : "cold"}};
}

namespace {

Json RequestOf(const Request& request, PlanBasis basis) {
  Json json = RequestMembers(request);
  json["basis"] = BasisName(basis);
  return json;
}

Json SecondsOf(const std::optional<Seconds>& time) { return time ? Json(time->value()) : Json(); }

Json StrategyOf(const StrategyLine& line) {
  Json json = {{"name", line.name}, {"fits", line.fits}, {"peak_bytes", Json::object()}};
  for (const PoolBytes& pool : line.peak) json["peak_bytes"][pool.pool] = pool.bytes.value();
  json["seconds"] = {{"first_token", SecondsOf(line.first_token)}, {"per_token", SecondsOf(line.per_token)}};
  if (line.first_token_low) {
    json["seconds"]["low"] = {{"first_token", SecondsOf(line.first_token_low)},
                              {"per_token", SecondsOf(line.per_token_low)}};
    json["seconds"]["high"] = {{"first_token", SecondsOf(line.first_token_high)},
                               {"per_token", SecondsOf(line.per_token_high)}};
  }
  json["limit"] = line.limit;
  json["why_not"] = line.why_not;
  return json;
}

Json FormatOf(const FormatLine& line) {
  return {{"dtype", line.name},
          {"about", line.about},
          {"weights_bytes", line.weights.value()},
          {"needed_bytes", line.needed.value()},
          {"fits", line.fits},
          {"resident_bytes", line.fits       ? Json(line.weights.value())
                             : line.resident ? Json(line.resident->value())
                                             : Json()}};
}

}  // namespace

Result<std::string> PlanJson(const PlanReport& report, std::string_view plan_json) {
  Json plan;
  if (!plan_json.empty()) plan = Json::parse(plan_json, nullptr, /*allow_exceptions=*/false);
  if (plan.is_discarded()) return Error{ErrorCode::kInternal, "the plan's own JSON does not parse"};
  Json json = {{"model", ModelMembers(report.model)},
               {"machine", MachineOf(report.machine, report.strategies)},
               {"request", RequestOf(report.request, report.basis)},
               {"strategies", Json::array()}};
  for (const StrategyLine& line : report.strategies) json["strategies"].push_back(StrategyOf(line));
  json["formats"] = Json::array();
  for (const FormatLine& line : report.formats) json["formats"].push_back(FormatOf(line));
  json["chosen"] = report.chosen.empty() ? Json() : Json(report.chosen);
  json["plan"] = std::move(plan);
  if (report.smallest_budget) {
    const SmallestBudget& least = *report.smallest_budget;
    json["smallest_budget"] = {{"pool", least.pool}, {"bytes", least.bytes.value()}, {"strategy", least.strategy}};
  }
  return DumpJson(json);
}

}  // namespace stowage
