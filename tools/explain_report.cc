#include "tools/explain_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "planner/base/nearest.h"
#include "planner/base/text.h"
#include "planner/plan/diff.h"

namespace stowage {
namespace {

using Tensors = std::vector<const TensorPlan*>;

// The tensors meant by a name, and what kind of name it is.
std::pair<Tensors, std::string> Find(const Plan& plan, std::string_view what) {
  Tensors tensors, block, module;
  const std::string below = std::string(what) + ".";
  for (const TensorPlan& t : plan.tensors) {
    if (t.name == what) tensors.push_back(&t);
    if (t.block == what) block.push_back(&t);
    if (t.name.starts_with(below)) module.push_back(&t);
  }
  if (!block.empty()) return {block, "block"};
  if (!tensors.empty()) return {tensors, "tensor"};
  return {module, "module"};
}

Error NotFound(const Plan& plan, std::string_view what) {
  std::set<std::string_view> names;
  for (const TensorPlan& t : plan.tensors) {
    names.insert(t.name);
    if (!t.block.empty()) names.insert(t.block);
  }
  const std::vector<std::string_view> all(names.begin(), names.end());
  const std::string_view nearest = Nearest(what, all);
  return Error{ErrorCode::kInvalidInput,
               fmt::format("the plan has no block, module or tensor '{}'{}", what,
                           nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest))};
}

Bytes FreeIn(const Plan& plan, std::string_view pool) {
  Bytes free = Bytes(0) - plan.ArenaBytes(pool);
  for (const auto& [name, bytes] : plan.budgets) free += name == pool ? bytes : Bytes(0);
  for (const auto& [name, bytes] : plan.reservations) free -= name == pool ? bytes : Bytes(0);
  return free;
}

Bytes BytesOf(const TensorPlan& t, const Residency& r) {
  return t.bytes() / std::max<std::int64_t>(t.Rows(), 1) * (r.row_end - r.row_begin);
}

// The device's link from the host, as the plan's runtime uses it.
struct Link {
  std::string name;
  Seconds latency;
  BytesPerSecond rate{0};
  Origin origin = Origin::kAssumed;

  Seconds TimeOf(Bytes bytes, std::size_t copies) const { return bytes / rate + latency * static_cast<double>(copies); }
};

Result<Link> LinkOf(const PlanFile& file, const std::string& device) {
  Link link{.name = device + ".h2d"};
  const std::int32_t index = file.machine.FindResource(link.name);
  if (index < 0 || !file.machine.resources[index].transfer) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("the plan computes on '{}', which has no link '{}'", device, link.name)};
  }
  const Resource& r = file.machine.resources[index];
  link.latency = r.transfer->latency;
  link.rate = file.plan.runtime == "torch" ? r.transfer->pageable : r.transfer->pinned;
  link.origin = r.origin;
  return link;
}

void AddShare(const std::string& what, Bytes bytes, std::vector<ExplainReport::Share>& shares) {
  const auto it = std::find_if(shares.begin(), shares.end(), [&](const auto& s) { return s.what == what; });
  if (it == shares.end()) {
    shares.push_back({what, bytes});
  } else {
    it->bytes += bytes;
  }
}

struct Counts {
  std::size_t streamed = 0;  // parts, which is copies a pass
  std::size_t resident = 0;
  Bytes in_place;
};

Counts AddTensors(const Tensors& tensors, ExplainReport& out) {
  Counts counts;
  for (const TensorPlan* t : tensors) {
    out.tensors.push_back({t->name, t->tied_to.empty() ? t->bytes() : Bytes(0), Whereabouts(*t)});
    for (const Residency& r : t->parts) {
      const Bytes bytes = BytesOf(*t, r);
      AddShare(fmt::format("{} {}{}{}", Name(r.where), r.pool, r.arena.empty() ? "" : "/" + r.arena,
                           r.phases == "*" ? "" : " in " + r.phases),
               bytes, out.shares);
      if (r.where == Where::kInPlace) counts.in_place += bytes;
      if (r.where == Where::kStreamed) {
        out.streamed += bytes;
        ++counts.streamed;
      } else if (r.where == Where::kResident) {
        out.resident += bytes;
        ++counts.resident;
      }
    }
  }
  return counts;
}

void AddReasons(const PlanFile& file, const Link& link, const Counts& counts, ExplainReport& out) {
  const std::string at = fmt::format("{} ({})", FormatRate(link.rate), Name(link.origin));
  const std::string free = fmt::format("{} is free", FormatBytes(out.device_free));
  if (out.streamed > Bytes(0)) {
    out.reasons.push_back(fmt::format("Each pass copies {} of it over {}: {} at {}.", FormatBytes(out.streamed),
                                      link.name, FormatSeconds(out.streaming_now), at));
    const Bytes missing = out.streamed - out.device_free;
    out.reasons.push_back(
        missing > Bytes(0) ? fmt::format("Resident, that would take {} more of {}, where {}: {} would have to leave.",
                                         FormatBytes(out.streamed), out.device, free, FormatBytes(missing))
                           : fmt::format("Resident, that would take {} more of {}, where {}.",
                                         FormatBytes(out.streamed), out.device, free));
  }
  if (out.resident > Bytes(0)) {
    const Bytes host = FreeIn(file.plan, "host");
    out.reasons.push_back(fmt::format(
        "{} stay on {}. Streamed instead, they would free that there, take as much of the host, where {} is free, and "
        "hold {} for {} a pass at {}.",
        FormatBytes(out.resident), out.device, FormatBytes(host), link.name, FormatSeconds(out.streaming_instead), at));
  }
  if (counts.in_place > Bytes(0)) {
    out.reasons.push_back(fmt::format("{} are read where they are: a kernel fetches only what it needs of them.",
                                      FormatBytes(counts.in_place)));
  }
}

void AddRefused(const Plan& plan, const Tensors& tensors, ExplainReport& out) {
  for (const std::string& r : plan.refused) {
    const bool about = std::any_of(tensors.begin(), tensors.end(), [&](const TensorPlan* t) {
      return r.find(t->name) != std::string::npos || (!t->block.empty() && r.find(t->block) != std::string::npos);
    });
    if (about) out.refused.push_back(r);
  }
  if (out.refused.empty()) out.refused = plan.refused;
}

}  // namespace

Result<ExplainReport> Explain(const PlanFile& file, std::string_view what) {
  const auto [tensors, kind] = Find(file.plan, what);
  if (tensors.empty()) return NotFound(file.plan, what);
  ExplainReport out{.name = std::string(what), .kind = kind};
  std::vector<std::string> devices;
  for (const TensorPlan* t : tensors) {
    if (std::find(devices.begin(), devices.end(), t->device) == devices.end()) devices.push_back(t->device);
  }
  out.device = Join(devices, ", ");
  const Counts counts = AddTensors(tensors, out);
  out.device_free = FreeIn(file.plan, devices[0]);
  if (devices.size() == 1 && devices[0] == "host") {
    out.reasons.push_back("The host's cores compute it from where it is: nothing of it crosses a link.");
  } else if (devices.size() == 1) {
    STOWAGE_TRY(const Link link, LinkOf(file, devices[0]));
    out.streaming_now = link.TimeOf(out.streamed, counts.streamed);
    out.streaming_instead = link.TimeOf(out.resident, counts.resident);
    AddReasons(file, link, counts, out);
  } else {
    out.reasons.push_back("It is computed on several devices; ask for one of its blocks or tensors.");
  }
  AddRefused(file.plan, tensors, out);
  return out;
}

std::string ExplainText(const ExplainReport& report) {
  std::string out = fmt::format("{} '{}', computed on {}\n\n", report.kind, report.name, report.device);
  std::vector<std::vector<std::string>> rows = {{"tensor", "size", "where"}};
  for (const ExplainReport::Line& l : report.tensors) rows.push_back({l.tensor, FormatBytes(l.bytes), l.where});
  out += AlignTable(rows) + "\n";
  if (report.tensors.size() > 1) {
    for (const ExplainReport::Share& s : report.shares) out += fmt::format("{} {}\n", FormatBytes(s.bytes), s.what);
    out += "\n";
  }
  for (const std::string& r : report.reasons) out += "- " + r + "\n";
  if (!report.refused.empty()) out += "what the strategy refused:\n";
  for (const std::string& r : report.refused) out += "- " + r + "\n";
  return out;
}

std::string ExplainJson(const ExplainReport& report) {
  using Json = nlohmann::ordered_json;
  Json out = {{"name", report.name}, {"kind", report.kind}, {"device", report.device}, {"tensors", Json::array()}};
  for (const ExplainReport::Line& l : report.tensors)
    out["tensors"].push_back({{"name", l.tensor}, {"bytes", l.bytes.value()}, {"where", l.where}});
  out["shares"] = Json::array();
  for (const ExplainReport::Share& s : report.shares)
    out["shares"].push_back({{"what", s.what}, {"bytes", s.bytes.value()}});
  out["device_free_bytes"] = report.device_free.value();
  out["streamed_bytes"] = report.streamed.value();
  out["streaming_s_per_pass"] = report.streaming_now.value();
  out["resident_bytes"] = report.resident.value();
  out["streaming_instead_s_per_pass"] = report.streaming_instead.value();
  out["reasons"] = report.reasons;
  out["refused"] = report.refused;
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace stowage
