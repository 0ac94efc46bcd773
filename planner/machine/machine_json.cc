#include "planner/machine/machine_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "planner/formats/json_members.h"
#include "planner/machine/size.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

// No sum of a machine's sizes can overflow.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 52;
constexpr double kMostRate = 1e21;
constexpr double kMostSeconds = 3600;
constexpr std::size_t kMostEntries = 1024;
constexpr std::array kPoolKinds = {std::string_view("gpu"), std::string_view("host"), std::string_view("disk")};

std::string_view NameOf(PoolKind kind) { return kPoolKinds[static_cast<std::size_t>(kind)]; }

template <class T>
T& FindOrAdd(std::vector<T>& items, std::string_view name) {
  const auto it = std::find_if(items.begin(), items.end(), [&](const T& item) { return item.name == name; });
  if (it != items.end()) return *it;
  items.emplace_back();
  items.back().name = name;
  return items.back();
}

Bytes ReadSize(JsonScanner& in) {
  if (!in.NextIsString()) {
    const std::int64_t bytes = in.Integer();
    if (bytes > kMostBytes) in.Fail(fmt::format("{} bytes are more than {}", bytes, kMostBytes));
    return Bytes(bytes);
  }
  const std::string text(in.String());
  const Result<Bytes> size = ParseSize(text);
  if (!size) {
    in.Fail(size.error().message);
  } else if (size->value() > kMostBytes) {
    in.Fail(fmt::format("'{}' is more than {} bytes", text, kMostBytes));
  }
  return size ? *size : Bytes();
}

double ReadReal(JsonScanner& in, double least, double most) {
  const double value = in.Number();
  if (in.ok() && (value < least || value > most)) in.Fail(fmt::format("{} is not in [{}, {}]", value, least, most));
  return value;
}

JsonMember Time(JsonScanner& in, std::string_view name, Seconds& value) {
  return {name, kOptional, [&] { value = Seconds(ReadReal(in, 0, kMostSeconds)); }};
}
template <class Rate>
JsonMember PerSecond(JsonScanner& in, std::string_view name, Rate& value) {
  return {name, kOptional, [&] { value = Rate(ReadReal(in, 0, kMostRate)); }};
}
JsonMember Real(JsonScanner& in, std::string_view name, double& value) {
  return {name, kOptional, [&] { value = ReadReal(in, 0, 1000); }};
}

Origin ReadOrigin(JsonScanner& in) {
  const std::string text(in.String());
  for (const Origin o : {Origin::kMeasured, Origin::kPublished, Origin::kComputed, Origin::kAssumed}) {
    if (text == Name(o)) return o;
  }
  in.Fail(fmt::format("origin '{}' is not measured, published, computed or assumed", text));
  return Origin::kAssumed;
}

PoolKind ReadPoolKind(JsonScanner& in) {
  const std::string text(in.String());
  const auto* const it = std::find(kPoolKinds.begin(), kPoolKinds.end(), text);
  if (it == kPoolKinds.end()) in.Fail(fmt::format("kind '{}' is not gpu, host or disk", text));
  return it == kPoolKinds.end() ? PoolKind::kHost : static_cast<PoolKind>(it - kPoolKinds.begin());
}

// Calls `read` with each name of an object of named things.
template <class Read>
void ReadNamed(JsonScanner& in, std::string_view what, Read read) {
  in.BeginObject();
  std::size_t count = 0;
  for (std::string_view key; in.NextKey(key);) {
    if (key.empty() || key.size() > 200) in.Fail(fmt::format("the name of a {} has 1 to 200 bytes", what));
    if (++count > kMostEntries) in.Fail(fmt::format("more than {} {}s", kMostEntries, what));
    read(std::string(key));
  }
}

void ReadGpus(JsonScanner& in, std::vector<GpuInfo>& gpus) {
  std::size_t index = 0;
  ReadItems(in, [&] {
    if (index >= kMostEntries) return in.Fail(fmt::format("more than {} gpus", kMostEntries));
    if (index == gpus.size()) gpus.emplace_back();
    GpuInfo& gpu = gpus[index++];
    ReadMembers(in, "a gpu",
                {{"id", kOptional, [&] { gpu.id = in.String(); }},
                 {"name", kOptional, [&] { gpu.name = in.String(); }},
                 {"compute_capability", kOptional,
                  [&] { gpu.compute_capability = static_cast<int>(std::min<std::int64_t>(in.Integer(), 10'000)); }}});
  });
}

void ReadPool(JsonScanner& in, Pool& pool) {
  ReadMembers(in, "a pool",
              {{"kind", kOptional, [&] { pool.kind = ReadPoolKind(in); }},
               {"budget", kOptional, [&] { pool.budget = ReadSize(in); }},
               {"pinned_limit", kOptional, [&] { pool.pinned_limit = ReadSize(in); }}});
}

void ReadReservation(JsonScanner& in, std::vector<Reservation>& all) {
  Reservation r;
  ReadMembers(in, "a reservation",
              {{"pool", kRequired, [&] { r.pool = in.String(); }},
               {"name", kRequired, [&] { r.name = in.String(); }},
               {"bytes", kRequired, [&] { r.bytes = ReadSize(in); }},
               {"origin", kRequired, [&] { r.origin = ReadOrigin(in); }},
               {"source", kRequired, [&] { r.source = in.String(); }},
               {"least_bytes", kOptional, [&] { r.least = ReadSize(in); }}});
  const auto same = [&](const Reservation& o) { return o.pool == r.pool && o.name == r.name; };
  const auto it = std::find_if(all.begin(), all.end(), same);
  if (it != all.end()) {
    *it = std::move(r);
  } else {
    all.push_back(std::move(r));
  }
  if (all.size() > kMostEntries) in.Fail(fmt::format("more than {} reservations", kMostEntries));
}

void ReadCompute(JsonScanner& in, ComputeRate& c) {
  ReadMembers(in, "compute",
              {PerSecond(in, "fp32_flops_per_s", c.fp32), PerSecond(in, "fp16_flops_per_s", c.fp16),
               PerSecond(in, "bf16_flops_per_s", c.bf16), PerSecond(in, "memory_bytes_per_s", c.memory),
               Real(in, "flops_efficiency", c.flops_efficiency), Real(in, "memory_efficiency", c.memory_efficiency),
               Real(in, "smoothness", c.smoothness), Time(in, "launch_s", c.launch),
               PerSecond(in, "in_place_bytes_per_s", c.in_place)});
}

void ReadTransfer(JsonScanner& in, TransferRate& t) {
  ReadMembers(in, "transfer",
              {Time(in, "latency_s", t.latency), PerSecond(in, "pinned_bytes_per_s", t.pinned),
               PerSecond(in, "pageable_bytes_per_s", t.pageable), Time(in, "start_s", t.start)});
}

// [low, high]
void ReadSpread(JsonScanner& in, Spread& spread) {
  std::array<double, 2> ends = {0, 0};
  std::size_t count = 0;
  ReadItems(in, [&] {
    const double end = ReadReal(in, 0, 1000);
    if (count < ends.size()) ends[count] = end;
    ++count;
  });
  spread = {ends[0], ends[1]};
  if (in.ok() && (count != 2 || spread.low <= 0 || spread.low > 1 || spread.high < 1)) {
    in.Fail("an interval is two factors, one in (0, 1] and one of at least 1");
  }
}

// Rates that a file says are those of the part at hand, unless it says an interval too.
void ReadResource(JsonScanner& in, Resource& r) {
  r.flops_spread = r.rate_spread = Spread();
  ReadMembers(in, "a resource",
              {{"origin", kRequired, [&] { r.origin = ReadOrigin(in); }},
               {"shared", kOptional, [&] { r.shared = in.Boolean(); }},
               {"flops_interval", kOptional, [&] { ReadSpread(in, r.flops_spread); }},
               {"rate_interval", kOptional, [&] { ReadSpread(in, r.rate_spread); }},
               {"compute", kOptional, [&] { ReadCompute(in, r.compute ? *r.compute : r.compute.emplace()); }},
               {"transfer", kOptional, [&] { ReadTransfer(in, r.transfer ? *r.transfer : r.transfer.emplace()); }}});
}

void ReadDispatch(JsonScanner& in, DispatchCost& d) {
  d.spread = Spread();
  ReadMembers(in, "dispatch",
              {Time(in, "native_launch_s", d.native_launch),
               Time(in, "torch_operator_s", d.torch_operator),
               Time(in, "torch_hook_s", d.torch_hook),
               Time(in, "device_malloc_s", d.device_malloc),
               Time(in, "device_free_s", d.device_free),
               Time(in, "empty_cache_s", d.empty_cache),
               Real(in, "populate_gpu_s_per_byte", d.populate_gpu),
               Real(in, "populate_host_s_per_byte", d.populate_host),
               {"interval", kOptional, [&] { ReadSpread(in, d.spread); }}});
}

void ReadVersion(JsonScanner& in) {
  const std::int64_t version = in.Integer();
  if (in.ok() && version != kMachineVersion) {
    in.Fail(fmt::format("machine version {} is not {}, the one this program reads", version, kMachineVersion));
  }
}

void WriteSpread(const char* name, const Spread& spread, Json& out) {
  if (!(spread == Spread())) out[name] = {spread.low, spread.high};
}

Json WriteResource(const Resource& r) {
  Json out = {{"origin", Name(r.origin)}, {"shared", r.shared}};
  WriteSpread("flops_interval", r.flops_spread, out);
  WriteSpread("rate_interval", r.rate_spread, out);
  if (r.compute) {
    const ComputeRate& c = *r.compute;
    out["compute"] = {{"fp32_flops_per_s", c.fp32.value()},
                      {"fp16_flops_per_s", c.fp16.value()},
                      {"bf16_flops_per_s", c.bf16.value()},
                      {"memory_bytes_per_s", c.memory.value()},
                      {"flops_efficiency", c.flops_efficiency},
                      {"memory_efficiency", c.memory_efficiency},
                      {"smoothness", c.smoothness},
                      {"launch_s", c.launch.value()},
                      {"in_place_bytes_per_s", c.in_place.value()}};
  }
  if (r.transfer) {
    out["transfer"] = {{"latency_s", r.transfer->latency.value()},
                       {"pinned_bytes_per_s", r.transfer->pinned.value()},
                       {"pageable_bytes_per_s", r.transfer->pageable.value()},
                       {"start_s", r.transfer->start.value()}};
  }
  return out;
}

template <class... Args>
Error Bad(fmt::format_string<Args...> text, Args&&... args) {
  return Error{ErrorCode::kInvalidInput, "machine: " + fmt::format(text, std::forward<Args>(args)...)};
}

Status CheckCompute(const std::string& name, const ComputeRate& c) {
  if (c.fp32.value() <= 0) return Bad("'{}' computes with {} FLOPs a second in fp32", name, c.fp32.value());
  if (c.memory.value() <= 0) return Bad("'{}' reads {} bytes of memory a second", name, c.memory.value());
  for (const double efficiency : {c.flops_efficiency, c.memory_efficiency}) {
    if (efficiency <= 0 || efficiency > 1) return Bad("'{}' has an efficiency of {}, not in (0, 1]", name, efficiency);
  }
  if (c.smoothness < 1) return Bad("'{}' has a smoothness of {}, less than 1", name, c.smoothness);
  return OkStatus();
}

Status CheckResource(const Machine& machine, const std::string& name, bool computes) {
  const std::int32_t index = machine.FindResource(name);
  if (index < 0) return Bad("there is no resource '{}'", name);
  const Resource& r = machine.resources[index];
  if (computes && !r.compute) return Bad("resource '{}' has no 'compute'", name);
  if (!computes && !r.transfer) return Bad("resource '{}' has no 'transfer'", name);
  return OkStatus();
}

Status CheckPools(const Machine& machine) {
  std::size_t gpus = 0;
  for (const Pool& pool : machine.pools) {
    const std::string_view name = pool.name;
    const bool right = pool.kind == PoolKind::kGpu ? name == fmt::format("gpu{}", gpus++) : name == NameOf(pool.kind);
    if (!right) return Bad("pool '{}' of kind {}: pools are gpu0, gpu1, …, host and disk", name, NameOf(pool.kind));
  }
  if (gpus != machine.gpus.size()) return Bad("{} gpus and {} pools for them", machine.gpus.size(), gpus);
  for (const char* name : {"gpu0", "host", "disk"}) {
    if (machine.FindPool(name) < 0) return Bad("there is no pool '{}'", name);
  }
  for (const Reservation& r : machine.reservations) {
    if (machine.FindPool(r.pool) < 0) return Bad("'{}' is reserved in '{}', which is no pool", r.name, r.pool);
  }
  return OkStatus();
}

}  // namespace

std::string WriteMachineJson(const Machine& machine) {
  Json out = {{"stowage_machine", kMachineVersion}, {"name", machine.name}, {"gpus", Json::array()}};
  for (const GpuInfo& g : machine.gpus)
    out["gpus"].push_back({{"id", g.id}, {"name", g.name}, {"compute_capability", g.compute_capability}});
  out["pools"] = Json::object();
  for (const Pool& p : machine.pools) {
    Json pool = {{"kind", NameOf(p.kind)}, {"budget", p.budget.value()}};
    if (p.pinned_limit) pool["pinned_limit"] = p.pinned_limit->value();
    out["pools"][p.name] = std::move(pool);
  }
  out["reservations"] = Json::array();
  for (const Reservation& r : machine.reservations) {
    out["reservations"].push_back({{"pool", r.pool},
                                   {"name", r.name},
                                   {"bytes", r.bytes.value()},
                                   {"origin", Name(r.origin)},
                                   {"source", r.source}});
    if (r.least) out["reservations"].back()["least_bytes"] = r.least->value();
  }
  out["resources"] = Json::object();
  for (const Resource& r : machine.resources) out["resources"][r.name] = WriteResource(r);
  const DispatchCost& d = machine.dispatch;
  out["dispatch"] = {{"native_launch_s", d.native_launch.value()}, {"torch_operator_s", d.torch_operator.value()},
                     {"torch_hook_s", d.torch_hook.value()},       {"device_malloc_s", d.device_malloc.value()},
                     {"device_free_s", d.device_free.value()},     {"empty_cache_s", d.empty_cache.value()},
                     {"populate_gpu_s_per_byte", d.populate_gpu},  {"populate_host_s_per_byte", d.populate_host}};
  WriteSpread("interval", d.spread, out["dispatch"]);
  if (!machine.torch_allocator.empty()) out["torch_allocator"] = machine.torch_allocator;
  out["assumptions"] = machine.assumptions;
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void ReadMachine(JsonScanner& in, Machine& machine) {
  const auto pool = [&](const std::string& name) { ReadPool(in, FindOrAdd(machine.pools, name)); };
  const auto resource = [&](const std::string& name) { ReadResource(in, FindOrAdd(machine.resources, name)); };
  ReadMembers(
      in, "a machine",
      {{"stowage_machine", kRequired, [&] { ReadVersion(in); }},
       {"name", kOptional, [&] { machine.name = in.String(); }},
       {"gpus", kOptional, [&] { ReadGpus(in, machine.gpus); }},
       {"pools", kOptional, [&] { ReadNamed(in, "pool", pool); }},
       {"reservations", kOptional, [&] { ReadItems(in, [&] { ReadReservation(in, machine.reservations); }); }},
       {"resources", kOptional, [&] { ReadNamed(in, "resource", resource); }},
       {"dispatch", kOptional, [&] { ReadDispatch(in, machine.dispatch); }},
       {"torch_allocator", kOptional, [&] { machine.torch_allocator = in.String(); }},
       {"assumptions", kOptional, [&] { ReadItems(in, [&] { machine.assumptions.emplace_back(in.String()); }); }}});
}

Result<Machine> ReadMachineFile(std::string_view path, std::string_view text, Machine base) {
  JsonScanner in(text);
  ReadMachine(in, base);
  in.End();
  if (!in.ok()) return JsonError(path, text, in);
  Status status = CheckMachine(base);
  if (!status) return std::move(status).error().In(path);
  return base;
}

Status CheckMachine(const Machine& machine) {
  STOWAGE_RETURN_IF_ERROR(CheckPools(machine));
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) {
    STOWAGE_RETURN_IF_ERROR(CheckResource(machine, fmt::format("gpu{}.sm", i), true));
    STOWAGE_RETURN_IF_ERROR(CheckResource(machine, fmt::format("gpu{}.h2d", i), false));
    STOWAGE_RETURN_IF_ERROR(CheckResource(machine, fmt::format("gpu{}.d2h", i), false));
  }
  STOWAGE_RETURN_IF_ERROR(CheckResource(machine, "host.cores", true));
  STOWAGE_RETURN_IF_ERROR(CheckResource(machine, "host.dram", false));
  STOWAGE_RETURN_IF_ERROR(CheckResource(machine, "disk0", false));
  for (const Resource& r : machine.resources) {
    if (r.compute) STOWAGE_RETURN_IF_ERROR(CheckCompute(r.name, *r.compute));
    if (r.transfer && (r.transfer->pinned.value() <= 0 || r.transfer->pageable.value() <= 0)) {
      return Bad("'{}' moves {} bytes a second pinned and {} pageable", r.name, r.transfer->pinned.value(),
                 r.transfer->pageable.value());
    }
  }
  return OkStatus();
}

}  // namespace stowage
