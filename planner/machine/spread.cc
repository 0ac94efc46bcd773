#include "planner/machine/spread.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

// Of the fit in hardware_table.h: a row with them has no measurement of its own. The RTX 4090 is the card of the fit.
constexpr double kFittedFlops = 0.97;
constexpr double kFittedMemory = 0.93;
constexpr std::string_view kFittedCard = "rtx4090";

double FlopsRate(const CardRow& row) {
  return (row.bf16_tflops > 0 ? row.bf16_tflops : std::max(row.fp16_tflops, row.fp32_tflops)) * row.flops_efficiency;
}
double MemoryRate(const CardRow& row) { return row.memory_gbs * row.memory_efficiency; }
double LinkRate(const CardRow& row) { return row.h2d_pinned_gbs; }

bool IsCard(const CardRow& row) { return row.total_bytes_low > 0; }

bool AlikeInSize(const CardRow& row, Bytes size) {
  const double ratio = static_cast<double>(row.total_bytes_low) / static_cast<double>(size.value());
  return ratio >= 0.8 && ratio <= 1.5;
}

// The rates of the table's cards of that size, relative to `row`'s.
template <class Rate>
Spread AmongCards(const CardRow& row, Bytes size, Rate rate) {
  const auto range = [&](bool alike) {
    Spread out;
    bool any = false;
    for (const CardRow& card : KnownCards()) {
      if (!IsCard(card) || (alike && !AlikeInSize(card, size))) continue;
      const double ratio = rate(card) / rate(row);
      out.low = any ? std::min(out.low, ratio) : std::min(1.0, ratio);
      out.high = any ? std::max(out.high, ratio) : std::max(1.0, ratio);
      any = true;
    }
    return std::pair(out, any);
  };
  const auto [spread, any] = range(/*alike=*/true);
  return any ? spread : range(/*alike=*/false).first;
}

bool Exact(const Spread& s) { return s == Spread(); }

BytesPerSecond Scaled(BytesPerSecond rate, double factor) { return BytesPerSecond(rate.value() * factor); }
FlopsPerSecond Scaled(FlopsPerSecond rate, double factor) { return FlopsPerSecond(rate.value() * factor); }

void ScaleFlops(ComputeRate& c, double factor) {
  for (FlopsPerSecond* rate : {&c.fp32, &c.fp16, &c.bf16}) *rate = Scaled(*rate, factor);
}

void ScaleTransfer(TransferRate& t, double factor) {
  t.pinned = Scaled(t.pinned, factor);
  t.pageable = Scaled(t.pageable, factor);
}

void ScaleDispatch(DispatchCost& d, double factor) {
  for (Seconds* cost :
       {&d.native_launch, &d.torch_operator, &d.torch_hook, &d.device_malloc, &d.device_free, &d.empty_cache}) {
    *cost = *cost * factor;
  }
}

// What a kernel reads in place comes over its card's link.
const Resource& InPlaceLink(const Machine& machine, const Resource& resource) {
  if (!resource.name.ends_with(".sm")) return resource;
  const std::int32_t link = machine.FindResource(resource.name.substr(0, resource.name.size() - 3) + ".h2d");
  return link < 0 ? resource : machine.resources[static_cast<std::size_t>(link)];
}

template <class End>
Machine AtEnd(const Machine& machine, End end) {
  Machine out = machine;
  for (std::size_t i = 0; i < machine.resources.size(); ++i) {
    const Resource& expected = machine.resources[i];
    Resource& r = out.resources[i];
    if (r.compute) {
      ScaleFlops(*r.compute, end(expected.flops_spread));
      r.compute->memory = Scaled(r.compute->memory, end(expected.rate_spread));
      r.compute->in_place = Scaled(r.compute->in_place, end(InPlaceLink(machine, expected).rate_spread));
    }
    if (r.transfer) ScaleTransfer(*r.transfer, end(expected.rate_spread));
    r.flops_spread = r.rate_spread = Spread();
  }
  out.dispatch.spread = Spread();
  return out;
}

std::string Factors(const Spread& s) { return fmt::format("{:.3g} to {:.3g}", s.low, s.high); }

}  // namespace

CardSpread SpreadOf(const CardRow& row, Bytes budget) {
  if (row.id == "generic") {
    Spread link = AmongCards(row, budget, LinkRate);
    link.low *= kAssumedLink.low;
    return {.flops = AmongCards(row, budget, FlopsRate), .memory = AmongCards(row, budget, MemoryRate), .link = link};
  }
  if (!IsCard(row)) return {.flops = kAssumedCores, .memory = kAssumedDram, .link = kAssumedDram};
  CardSpread out;
  if (row.id != kFittedCard && row.flops_efficiency == kFittedFlops) out.flops = kClassFlops;
  if (row.id != kFittedCard && row.memory_efficiency == kFittedMemory) out.memory = kClassMemory;
  if (row.link_origin == Origin::kAssumed) out.link = kAssumedLink;
  return out;
}

Machine AtBest(const Machine& machine) {
  Machine out = AtEnd(machine, [](const Spread& s) { return s.high; });
  ScaleDispatch(out.dispatch, machine.dispatch.spread.low);
  for (Reservation& r : out.reservations) r.bytes = r.least.value_or(r.bytes);
  return out;
}

Machine AtWorst(const Machine& machine) {
  Machine out = AtEnd(machine, [](const Spread& s) { return s.low; });
  ScaleDispatch(out.dispatch, machine.dispatch.spread.high);
  return out;
}

bool HasIntervals(const Machine& machine) {
  return !Exact(machine.dispatch.spread) ||
         std::any_of(machine.resources.begin(), machine.resources.end(),
                     [](const Resource& r) { return !Exact(r.flops_spread) || !Exact(r.rate_spread); });
}

Machine Faster(const Machine& machine, std::string_view resource, double factor) {
  Machine out = machine;
  for (Resource& r : out.resources) {
    if (r.compute && InPlaceLink(machine, r).name == resource)
      r.compute->in_place = Scaled(r.compute->in_place, factor);
    if (r.name != resource) continue;
    if (r.compute) {
      ScaleFlops(*r.compute, factor);
      r.compute->memory = Scaled(r.compute->memory, factor);
      r.compute->launch = r.compute->launch / factor;
    }
    if (r.transfer) ScaleTransfer(*r.transfer, factor);
  }
  return out;
}

std::string IntervalSentence(const Machine& machine) {
  std::vector<std::string> parts;
  for (const Resource& r : machine.resources) {
    const std::string flops = Exact(r.flops_spread) ? "" : Factors(r.flops_spread) + " of its FLOPS";
    const std::string rate =
        Exact(r.rate_spread) ? "" : Factors(r.rate_spread) + (r.compute ? " of its bandwidth" : "");
    if (flops.empty() && rate.empty()) continue;
    parts.push_back(r.name + " " + flops + (flops.empty() || rate.empty() ? "" : " and ") + rate);
  }
  if (!Exact(machine.dispatch.spread)) parts.push_back("dispatch costs " + Factors(machine.dispatch.spread));
  if (parts.empty()) return "";
  return "Low and high are with all of these at an end of their interval: " + Join(parts, ", ") + ".";
}

}  // namespace stowage
