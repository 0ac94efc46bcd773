#include <fmt/format.h>

#include <cstdio>
#include <map>

#include "exec/kernel_args.h"
#include "exec/testing/tiny_llama.h"
#include "kernels/rope_frequencies.h"
#include "planner/base/check.h"

namespace stowage {
namespace {

using Blob = std::vector<std::byte>;

kernels::Dtype KernelDtype(DType dtype) {
  return dtype == DType::kF32   ? kernels::Dtype::kF32
         : dtype == DType::kF16 ? kernels::Dtype::kF16
                                : kernels::Dtype::kBF16;
}

class PlainRun {
 public:
  PlainRun(const TinyLlama& m, const std::string& file, const kernels::KernelTable& kernels)
      : m_(m), k_(kernels), d_(KernelDtype(m.dtype)), e_(static_cast<std::size_t>(kernels::ElementBytes(d_))) {
    std::FILE* f = std::fopen(file.c_str(), "rb");
    STOWAGE_CHECK(f != nullptr);
    for (const TinyTensor& t : TensorsOf(m)) {
      const std::int64_t count = t.rows * t.columns;
      Blob raw(static_cast<std::size_t>(SizeOf(m.file_dtype, count).value()));
      STOWAGE_CHECK(std::fseek(f, t.file_offset, SEEK_SET) == 0 &&
                    std::fread(raw.data(), 1, raw.size(), f) == raw.size());
      Blob& w = w_[t.name];
      w.resize(static_cast<std::size_t>(count) * e_);
      Ok(kernels::ReferenceConvert({KernelDtype(m.file_dtype), d_, count, raw.data(), w.data()}));
    }
    std::fclose(f);
    const std::size_t positions = m.prompt.size() + static_cast<std::size_t>(m.new_tokens);
    caches_.assign(static_cast<std::size_t>(2 * m.layers),
                   Blob(positions * static_cast<std::size_t>(m.kv_heads * m.head_dim) * e_));
    inv_freq_ = kernels::ComputeInvFreq(10000, static_cast<int>(m.head_dim));
  }

  Blob Pass(const std::vector<std::int32_t>& ids, int past) {
    const int rows = static_cast<int>(ids.size()), hidden = static_cast<int>(m_.hidden);
    Blob h = Make(rows, m_.hidden), x = h;
    Ok(k_.embedding({d_, rows, hidden, static_cast<int>(m_.vocab), ids.data(), w_["embed"].data(), h.data()}, nullptr));
    for (std::int64_t l = 0; l < m_.layers; ++l) Layer(l, rows, past, h, x);
    const std::byte* last = h.data() + static_cast<std::size_t>((rows - 1) * hidden) * e_;
    Ok(k_.rms_norm({d_, 1, hidden, 1e-5f, last, w_["norm"].data(), x.data()}, nullptr));
    Blob logits = Make(1, m_.vocab);
    Linear("head", 1, x, logits, m_.vocab, m_.hidden, false);
    return logits;
  }

  std::int32_t Argmax(const Blob& logits) {
    std::int32_t id = -1;
    Ok(k_.argmax({d_, 1, static_cast<int>(m_.vocab), logits.data(), &id}, nullptr));
    return id;
  }

 private:
  static void Ok(int code) { STOWAGE_CHECK(code == kernels::kOk); }
  Blob Make(std::int64_t rows, std::int64_t width) const { return Blob(static_cast<std::size_t>(rows * width) * e_); }

  void Linear(const std::string& name, int rows, const Blob& x, Blob& y, std::int64_t n, std::int64_t k, bool add) {
    kernels::LinearArgs a{d_, rows, static_cast<int>(k), static_cast<int>(n), 0, static_cast<int>(n)};
    a.x = x.data();
    a.weight = w_[name].data();
    a.y = y.data();
    a.accumulate = add;
    Ok(k_.linear(a, nullptr));
  }

  void Layer(std::int64_t l, int rows, int past, Blob& h, Blob& x) {
    const std::string p = fmt::format("layers.{}.", l);
    const std::int64_t q_width = m_.heads * m_.head_dim, kv_width = m_.kv_heads * m_.head_dim;
    const int hidden = static_cast<int>(m_.hidden);
    Blob q = Make(rows, q_width), a = q, k = Make(rows, kv_width), v = k;
    Ok(k_.rms_norm({d_, rows, hidden, 1e-5f, h.data(), w_[p + "norm1"].data(), x.data()}, nullptr));
    Linear(p + "q", rows, x, q, q_width, m_.hidden, false);
    Linear(p + "k", rows, x, k, kv_width, m_.hidden, false);
    Linear(p + "v", rows, x, v, kv_width, m_.hidden, false);
    kernels::RopeCacheArgs rope{d_, rows, past, 1, static_cast<int>(m_.heads), static_cast<int>(m_.kv_heads)};
    rope.head_dim = static_cast<int>(m_.head_dim);
    rope.max_positions = past + rows;
    rope.inv_freq = inv_freq_.data();
    rope.q = q.data();
    rope.k = k.data();
    rope.v = v.data();
    rope.k_cache = caches_[static_cast<std::size_t>(2 * l)].data();
    rope.v_cache = caches_[static_cast<std::size_t>(2 * l + 1)].data();
    Ok(k_.rope_cache(rope, nullptr));
    kernels::AttentionArgs attention{d_, rows, past, 1, rope.heads, rope.kv_heads, rope.head_dim};
    attention.q = q.data();
    attention.k_cache = rope.k_cache;
    attention.v_cache = rope.v_cache;
    attention.out = a.data();
    Ok(k_.attention(attention, nullptr));
    Linear(p + "o", rows, a, h, m_.hidden, q_width, true);
    Ok(k_.rms_norm({d_, rows, hidden, 1e-5f, h.data(), w_[p + "norm2"].data(), x.data()}, nullptr));
    Blob gate = Make(rows, m_.intermediate), up = gate;
    Linear(p + "gate", rows, x, gate, m_.intermediate, m_.hidden, false);
    Linear(p + "up", rows, x, up, m_.intermediate, m_.hidden, false);
    Ok(k_.silu_mul({d_, rows * m_.intermediate, gate.data(), up.data(), gate.data()}, nullptr));
    Linear(p + "down", rows, gate, h, m_.hidden, m_.intermediate, true);
  }

  const TinyLlama& m_;
  const kernels::KernelTable& k_;
  kernels::Dtype d_;
  std::size_t e_;
  std::map<std::string, Blob> w_;
  std::vector<Blob> caches_;
  std::vector<float> inv_freq_;
};

}  // namespace

TinyAnswer RunPlainly(const TinyLlama& m, const std::string& file, const kernels::KernelTable& kernels) {
  PlainRun run(m, file, kernels);
  TinyAnswer out{.tokens = m.prompt, .logits = run.Pass(m.prompt, 0), .last_logits = {}};
  out.tokens.push_back(run.Argmax(out.logits));
  while (out.tokens.size() < m.prompt.size() + static_cast<std::size_t>(m.new_tokens)) {
    const int past = static_cast<int>(out.tokens.size()) - 1;
    out.last_logits = run.Pass({out.tokens.back()}, past);
    out.tokens.push_back(run.Argmax(out.last_logits));
  }
  return out;
}

}  // namespace stowage
