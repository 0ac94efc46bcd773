#include "planner/strategy/closed_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/quant/fits.h"

namespace stowage {
namespace {

bool IsExpert(const Tensor& t) {
  return t.name.find(".experts.") != std::string::npos || t.name.find("_exps.") != std::string::npos;
}

// A table of the vocabulary in an embedding that no head shares.
bool IsTable(const Model& model, const Tensor& t, const std::vector<bool>& shared, TensorId id) {
  if (shared[static_cast<std::size_t>(id)] || t.shape.size() != 2) return false;
  const Module& module = model.modules[static_cast<std::size_t>(t.module)];
  return module.class_name.ends_with("Embedding") || t.name == "token_embd.weight";
}

// Of an encoder-decoder: the encoder, and what makes cross attention's keys and values of its rows.
bool InFirstPassOnly(const Model& model, const Tensor& t) {
  if (!IsEncoderDecoder(model)) return false;
  const auto has = [&](std::string_view part) { return t.name.find(part) != std::string::npos; };
  return t.name.starts_with("encoder.") || t.name.starts_with("model.encoder.") || has(".EncDecAttention.k.") ||
         has(".EncDecAttention.v.") || has(".encoder_attn.k_proj.") || has(".encoder_attn.v_proj.");
}

std::vector<bool> SharedTensors(const Model& model) {
  std::vector<bool> shared(model.tensors.size());
  for (const Tensor& t : model.tensors) {
    if (t.tied_to != kNoId) shared[static_cast<std::size_t>(t.tied_to)] = true;
  }
  return shared;
}

// Caches and what the native prefill keeps at once by planner/quant's formula; what the widest kernel of eager torch keeps:
// the residual and its norm beside gate, up and a product of its own, or q, k, v and what attention makes, or a norm in
// fp32 (three copies), or the head's logits of every position.
void AddRequest(const Model& model, const Request& request, DType dtype, RequestSizes& out) {
  const TransformerShape& s = model.shape;
  const bool cached = request.kv != KvCache::kNone;
  const RequestMemory memory = MemoryOf(model, request);
  if (!cached || (s.layers > 0 && CacheBytesPerPosition(model) > Bytes(0))) out.kv = memory.kv;
  if (s.hidden == 0 || s.vocab == 0) return;
  out.native_activations = std::max(memory.activations, memory.logits);
  const std::int64_t source = SourcePositions(model, request.prompt_tokens);
  const std::int64_t rows = (source > 0 ? source
                             : cached   ? request.prompt_tokens
                                        : request.CachePositions()) *
                            request.batch;
  const std::int64_t heads = (2 * s.heads + 2 * s.kv_heads) * s.head_dim;
  const std::int64_t mlp = s.experts > 0 ? 0 : s.intermediate;  // torch's experts work on their rows in turn
  const DType computed = IsFloating(dtype) ? dtype : DType::kBF16;
  const std::int64_t logits = IsEncoderDecoder(model) ? 0 : s.vocab;  // its decoder starts with one position
  const std::int64_t eager = std::max({logits + s.hidden, 3 * (s.hidden + mlp), 3 * s.hidden + heads});
  out.torch_activations = std::max(SizeOf(computed, rows * eager),
                                   SizeOf(computed, rows * 2 * s.hidden) + SizeOf(DType::kF32, rows * 3 * s.hidden));
}

struct Bound {
  Seconds seconds;
  std::string resource;
};

void Raise(Bound& bound, Seconds seconds, std::string_view resource) {
  if (seconds > bound.seconds) bound = {seconds, std::string(resource)};
}

Bound BoundOf(const Machine& machine, Flops flops, DType dtype, Bytes read, const Demand& work) {
  Bound bound;
  if (const std::int32_t at = machine.FindResource("gpu0.sm"); at >= 0 && machine.resources[at].compute) {
    const ComputeRate& rate = *machine.resources[at].compute;
    const double peak = rate.Peak(dtype).value() * rate.flops_efficiency;
    const double memory = rate.memory.value() * rate.memory_efficiency;
    if (peak > 0) Raise(bound, flops / FlopsPerSecond(peak), "gpu0.sm (arithmetic)");
    if (memory > 0) Raise(bound, read / BytesPerSecond(memory), "gpu0.sm (memory)");
  }
  if (const std::int32_t at = machine.FindResource("gpu0.h2d"); at >= 0 && machine.resources[at].transfer) {
    const TransferRate& rate = *machine.resources[at].transfer;
    const BytesPerSecond speed = work.pageable ? rate.pageable : rate.pinned;
    if (speed.value() > 0) Raise(bound, work.streamed / speed, "gpu0.h2d");
  }
  return bound;
}

}  // namespace

std::string LimitOf(const std::map<std::string, Seconds>& busy, Seconds length) {
  if (busy.empty() || length <= Seconds(0)) return "";
  const auto busiest =
      std::max_element(busy.begin(), busy.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const double share = std::min(1.0, busiest->second.value() / length.value());
  return fmt::format("{}{} busy {}{:.0f} %", share >= 0.5 ? "" : "issuing: ", busiest->first,
                     share >= 0.5 ? "" : "only ", share * 100);
}

ClosedForm BestForm(const Request& request, std::vector<std::string> parameters,
                    const std::function<Result<ClosedForm>(const std::string&)>& form) {
  const auto whole = [&](const ClosedForm& f) {
    return f.first_token + f.per_token * static_cast<double>(request.DecodePasses());
  };
  if (parameters.empty()) parameters.emplace_back();
  ClosedForm best{.why_not = "nothing was tried"};
  for (const std::string& one : parameters) {
    Result<ClosedForm> next = form(one);
    ClosedForm candidate = next ? *std::move(next) : ClosedForm{.why_not = next.error().message};
    if (best.fits() && (!candidate.fits() || whole(best) <= whole(candidate))) continue;
    if (candidate.fits()) candidate.parameters = one;
    best = std::move(candidate);
  }
  return best;
}

DType MainDType(const Model& model) {
  std::map<DType, Bytes> bytes;
  for (const Tensor& t : model.tensors) {
    if (!t.buffer && t.tied_to == kNoId) bytes[t.dtype] += t.bytes();
  }
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? DType::kBF16 : most->first;
}

RequestSizes SizesOf(const Model& model, const Request& request) {
  RequestSizes out;
  const std::vector<bool> shared = SharedTensors(model);
  const TransformerShape& s = model.shape;
  const double used_experts =
      s.experts > 0 ? static_cast<double>(std::min(s.experts_per_token, s.experts)) / static_cast<double>(s.experts)
                    : 1;
  double body = 0, head = 0;  // weights multiplied by for each row; and for the last rows only
  double first = 0;           // for each row of the prompt, in the first pass only
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const Tensor& t = model.tensors[i];
    if (t.tied_to != kNoId) continue;
    const Bytes bytes = t.bytes();
    (t.buffer ? out.buffers : out.weights) += bytes;
    if (t.buffer) continue;
    out.largest_tensor = std::max(out.largest_tensor, bytes);
    if (IsTable(model, t, shared, static_cast<TensorId>(i))) {
      out.tables += bytes;
      continue;
    }
    const double share = IsExpert(t) ? used_experts : 1;
    out.touched += Bytes(static_cast<std::int64_t>(static_cast<double>(bytes.value()) * share));
    const bool first_only = InFirstPassOnly(model, t);
    if (first_only) out.first_only += bytes;
    const double weights = static_cast<double>(Elements(t.shape) * t.weights_per_element) * share;
    if (t.shape.size() >= 2) (first_only ? first : t.shape[0] == s.vocab ? head : body) += weights;
  }
  const auto batch = static_cast<double>(request.batch);
  const double again = request.kv == KvCache::kNone ? static_cast<double>(request.prompt_tokens + 1) : 1;
  out.decode = Flops(2 * (body * again + head) * batch);
  const auto source = static_cast<double>(SourcePositions(model, request.prompt_tokens));
  const auto prompt = static_cast<double>(DecoderPrompt(model, request.prompt_tokens));
  out.prefill = Flops(2 * (first * source + body * prompt + head) * batch);
  AddRequest(model, request, MainDType(model), out);
  return out;
}

ClosedForm CloseForm(const PlanningTask& task, const RequestSizes& sizes, const Demand& demand) {
  const Machine& machine = *task.machine;
  ClosedForm out{.why_not = demand.refusal};
  for (const auto& [pool, need] : {std::pair("gpu0", demand.gpu), std::pair("host", demand.host)}) {
    const Bytes all = need + machine.Reserved(pool);
    const Bytes budget = machine.pools[static_cast<std::size_t>(machine.FindPool(pool))].budget;
    out.peak.emplace_back(pool, all);
    if (!out.why_not.empty() || all <= budget) continue;
    out.why_not = fmt::format("needs {} of {}, whose budget is {}", FormatBytes(all), pool, FormatBytes(budget));
  }
  const DType dtype = MainDType(*task.model);
  const Bound first = BoundOf(machine, sizes.prefill, dtype, sizes.touched, demand);
  Demand later = demand;
  const Bytes touched = sizes.touched - sizes.first_only;
  if (sizes.first_only > Bytes(0)) {
    const double share = static_cast<double>(touched.value()) / static_cast<double>(sizes.touched.value());
    later.streamed = Bytes(static_cast<std::int64_t>(static_cast<double>(demand.streamed.value()) * share));
  }
  const Bound each = BoundOf(machine, sizes.decode, dtype, touched, later);
  out.first_token = first.seconds;
  out.per_token = each.seconds;
  out.limit = each.resource;
  return out;
}

}  // namespace stowage
