#include "exec/kernel_args.h"

#include <fmt/format.h>

#include <optional>

namespace stowage {
namespace {

std::optional<kernels::Dtype> KernelDtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kernels::Dtype::kF32;
    case DType::kF16:
      return kernels::Dtype::kF16;
    case DType::kBF16:
      return kernels::Dtype::kBF16;
    default:
      return std::nullopt;
  }
}

// Takes operands in order and remembers the first that does not fit.
class Operands {
 public:
  explicit Operands(const KernelCall& call) : call_(call) {}

  std::byte* Read(const char* what, std::int64_t bytes) {
    return Take("reads", what, bytes, call_.reads, call_.read_count, next_read_);
  }
  std::byte* Write(const char* what, std::int64_t bytes) {
    return Take("writes", what, bytes, call_.writes, call_.write_count, next_write_);
  }
  Bytes SizeOfRead(std::size_t i) const { return i < call_.read_count ? call_.reads[i].bytes : Bytes(0); }

  Status Finish() const {
    if (error_) return *error_;
    if (next_read_ != call_.read_count || next_write_ != call_.write_count) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("{} '{}' takes {} reads and {} writes, the step has {} and {}", Name(call_.kernel->kind),
                               call_.kernel->name, next_read_, next_write_, call_.read_count, call_.write_count)};
    }
    return OkStatus();
  }

 private:
  using List = std::array<DeviceSlice, KernelCall::kMaxOperands>;

  std::byte* Take(const char* side, const char* what, std::int64_t bytes, const List& list, std::size_t count,
                  std::size_t& next) {
    const std::size_t i = next++;
    const Bytes has = i < count ? list[i].bytes : Bytes(0);
    if (has.value() < bytes && !error_) {
      error_ = Error{ErrorCode::kInvalidInput,
                     fmt::format("{} '{}': {}[{}] ({}) needs {} bytes, the step gives {}", Name(call_.kernel->kind),
                                 call_.kernel->name, side, i, what, bytes, has.value())};
    }
    return i < count ? list[i].data : nullptr;
  }

  const KernelCall& call_;
  std::size_t next_read_ = 0;
  std::size_t next_write_ = 0;
  std::optional<Error> error_;
};

int Int(std::int64_t v) { return static_cast<int>(v); }
std::int32_t* Ids(std::byte* p) { return reinterpret_cast<std::int32_t*>(p); }

std::byte* Back(std::byte* p, std::int64_t bytes) { return p == nullptr ? nullptr : p - bytes; }

KernelArgs BindLinear(const Kernel& k, kernels::Dtype dtype, std::int64_t e, Operands& op) {
  const std::int64_t tile = k.row_end - k.row_begin;
  kernels::LinearArgs a{.dtype = dtype, .rows = Int(k.rows), .k = Int(k.k), .n = Int(k.n)};
  a.row_begin = Int(k.row_begin);
  a.row_end = Int(k.row_end);
  a.accumulate = k.accumulate;
  a.x = op.Read("x", k.rows * k.k * e);
  a.weight = op.Read("W", tile * k.k * e);
  // The step's slice is the tile's; the kernels index a bias by the whole matrix's row.
  if (k.has_bias) a.bias = Back(op.Read("bias", tile * e), k.row_begin * e);
  if (k.accumulate) op.Read("y", k.rows * k.n * e);
  a.y = op.Write("y", k.rows * k.n * e);
  return a;
}

KernelArgs BindRopeCache(const Kernel& k, std::int64_t past, kernels::Dtype dtype, std::int64_t e, Operands& op) {
  kernels::RopeCacheArgs a{.dtype = dtype, .tokens = Int(k.tokens), .past = Int(past), .batch = Int(k.batch)};
  a.heads = Int(k.heads);
  a.kv_heads = Int(k.kv_heads);
  a.head_dim = Int(k.head_dim);
  a.max_positions = Int(past + k.tokens);
  const std::int64_t position = k.batch * k.kv_heads * k.head_dim * e;
  const std::int64_t q_bytes = k.tokens * k.batch * k.heads * k.head_dim * e;
  op.Read("q", q_bytes);
  a.k = op.Read("k", k.tokens * position);
  a.v = op.Read("v", k.tokens * position);
  a.inv_freq = reinterpret_cast<const float*>(op.Read("inv_freq", k.head_dim / 2 * 4));
  a.q = op.Write("q", q_bytes);
  // The step's slices are the new positions; the kernels count from the cache's first.
  a.k_cache = Back(op.Write("keys", k.tokens * position), past * position);
  a.v_cache = Back(op.Write("values", k.tokens * position), past * position);
  return a;
}

KernelArgs BindAttention(const Kernel& k, std::int64_t past, kernels::Dtype dtype, std::int64_t e, Operands& op) {
  kernels::AttentionArgs a{.dtype = dtype, .tokens = Int(k.tokens), .past = Int(past), .batch = Int(k.batch)};
  a.heads = Int(k.heads);
  a.kv_heads = Int(k.kv_heads);
  a.head_dim = Int(k.head_dim);
  const std::int64_t cache = (past + k.tokens) * k.batch * k.kv_heads * k.head_dim * e;
  const std::int64_t rows = k.tokens * k.batch * k.heads * k.head_dim * e;
  a.q = op.Read("q", rows);
  a.k_cache = op.Read("keys", cache);
  a.v_cache = op.Read("values", cache);
  a.out = op.Write("out", rows);
  return a;
}

KernelArgs BindRows(const Kernel& k, kernels::Dtype dtype, std::int64_t e, Operands& op) {
  const std::int64_t out = k.rows * k.n * e;
  switch (k.kind) {
    case KernelKind::kEmbedding: {
      kernels::EmbeddingArgs a{.dtype = dtype, .rows = Int(k.rows), .hidden = Int(k.n)};
      a.ids = Ids(op.Read("ids", k.rows * 4));
      a.vocab = k.n > 0 ? Int(op.SizeOfRead(1).value() / (k.n * e)) : 0;
      a.table = op.Read("table", k.n * e);
      a.out = op.Write("out", out);
      return a;
    }
    case KernelKind::kRmsNorm: {
      kernels::RmsNormArgs a{.dtype = dtype, .rows = Int(k.rows), .hidden = Int(k.n), .eps = static_cast<float>(k.eps)};
      a.x = op.Read("x", out);
      a.weight = op.Read("gain", k.n * e);
      a.y = op.Write("out", out);
      return a;
    }
    case KernelKind::kSiluMul: {
      kernels::SiluMulArgs a{.dtype = dtype, .count = k.rows * k.n};
      a.gate = op.Read("gate", out);
      a.up = op.Read("up", out);
      a.out = op.Write("out", out);
      return a;
    }
    default: {
      kernels::ArgmaxArgs a{.dtype = dtype, .rows = Int(k.rows), .vocab = Int(k.n)};
      a.logits = op.Read("logits", out);
      a.out = Ids(op.Write("ids", k.rows * 4));
      return a;
    }
  }
}

Error NoKernel(const Kernel& kernel, DType dtype) {
  return {ErrorCode::kInvalidInput, fmt::format("{} '{}': there are no {} kernels; use fp32, fp16 or bf16",
                                                Name(kernel.kind), kernel.name, Name(dtype))};
}

}  // namespace

bool HasKernel(KernelKind kind) { return kind < KernelKind::kOpaque; }

Result<KernelArgs> BindArgs(const KernelCall& call) {
  const Kernel& k = *call.kernel;
  const std::optional<kernels::Dtype> dtype = KernelDtype(k.dtype);
  if (!dtype) return NoKernel(k, k.dtype);
  const std::int64_t e = kernels::ElementBytes(*dtype);
  const std::int64_t past = k.past + call.iteration * k.past_step;
  Operands op(call);
  KernelArgs args;
  switch (k.kind) {
    case KernelKind::kEmbedding:
    case KernelKind::kRmsNorm:
    case KernelKind::kSiluMul:
    case KernelKind::kArgmax:
      args = BindRows(k, *dtype, e, op);
      break;
    case KernelKind::kLinear:
      args = BindLinear(k, *dtype, e, op);
      break;
    case KernelKind::kRopeCache:
      args = BindRopeCache(k, past, *dtype, e, op);
      break;
    case KernelKind::kAttention:
      args = BindAttention(k, past, *dtype, e, op);
      break;
    case KernelKind::kConvert: {
      const std::optional<kernels::Dtype> from = KernelDtype(k.from_dtype);
      if (!from) return NoKernel(k, k.from_dtype);
      const std::int64_t count = k.rows > 0 ? k.rows * k.n : k.n;
      kernels::ConvertArgs a{.from_dtype = *from, .to_dtype = *dtype, .count = count};
      a.from = op.Read("x", count * kernels::ElementBytes(*from));
      a.to = op.Write("y", count * e);
      args = a;
      break;
    }
    default:
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("{} '{}' is simulated only: no kernel executes it", Name(k.kind), k.name)};
  }
  STOWAGE_RETURN_IF_ERROR(op.Finish());
  return args;
}

namespace {

struct TableRunner {
  const kernels::KernelTable& t;
  void* stream;
  int operator()(const kernels::EmbeddingArgs& a) const { return Run(t.embedding, a); }
  int operator()(const kernels::RmsNormArgs& a) const { return Run(t.rms_norm, a); }
  int operator()(const kernels::LinearArgs& a) const { return Run(t.linear, a); }
  int operator()(const kernels::RopeCacheArgs& a) const { return Run(t.rope_cache, a); }
  int operator()(const kernels::AttentionArgs& a) const { return Run(t.attention, a); }
  int operator()(const kernels::SiluMulArgs& a) const { return Run(t.silu_mul, a); }
  int operator()(const kernels::ArgmaxArgs& a) const { return Run(t.argmax, a); }
  int operator()(const kernels::ConvertArgs& a) const { return Run(t.convert, a); }

  template <class Args>
  int Run(int (*entry)(const Args&, void*), const Args& args) const {
    return entry == nullptr ? kernels::kUnavailable : entry(args, stream);
  }
};

}  // namespace

int RunKernel(const kernels::KernelTable& table, const KernelArgs& args, void* stream) {
  return std::visit(TableRunner{table, stream}, args);
}

kernels::KernelTable ReferenceKernels() {
  return {
      .embedding = [](const kernels::EmbeddingArgs& a, void*) { return kernels::ReferenceEmbedding(a); },
      .rms_norm = [](const kernels::RmsNormArgs& a, void*) { return kernels::ReferenceRmsNorm(a); },
      .rope_cache = [](const kernels::RopeCacheArgs& a, void*) { return kernels::ReferenceRopeCache(a); },
      .linear = [](const kernels::LinearArgs& a, void*) { return kernels::ReferenceLinear(a); },
      .attention = [](const kernels::AttentionArgs& a, void*) { return kernels::ReferenceAttention(a); },
      .silu_mul = [](const kernels::SiluMulArgs& a, void*) { return kernels::ReferenceSiluMul(a); },
      .argmax = [](const kernels::ArgmaxArgs& a, void*) { return kernels::ReferenceArgmax(a); },
      .convert = [](const kernels::ConvertArgs& a, void*) { return kernels::ReferenceConvert(a); },
  };
}

kernels::KernelTable HostKernels() {
  return {
      .embedding = [](const kernels::EmbeddingArgs& a, void*) { return kernels::HostEmbedding(a); },
      .rms_norm = [](const kernels::RmsNormArgs& a, void*) { return kernels::HostRmsNorm(a); },
      .rope_cache = [](const kernels::RopeCacheArgs& a, void*) { return kernels::HostRopeCache(a); },
      .linear = [](const kernels::LinearArgs& a, void*) { return kernels::HostLinear(a); },
      .attention = [](const kernels::AttentionArgs& a, void*) { return kernels::HostAttention(a); },
      .silu_mul = [](const kernels::SiluMulArgs& a, void*) { return kernels::HostSiluMul(a); },
      .argmax = [](const kernels::ArgmaxArgs& a, void*) { return kernels::HostArgmax(a); },
      .convert = [](const kernels::ConvertArgs& a, void*) { return kernels::HostConvert(a); },
  };
}

std::string KernelCodeText(int code) {
  switch (code) {
    case kernels::kOk:
      return "no error";
    case kernels::kInvalidValue:
      return "code 1 (sizes or pointers that make no sense)";
    case kernels::kTokenOutOfRange:
      return "a token id outside the vocabulary";
    case kernels::kUnavailable:
      return "the kernel is not in this build";
    default:
      return fmt::format("code {}", code);
  }
}

}  // namespace stowage
