// The backends that need no device: each instruction set this processor has, host loops in parts, and the emulation.
#include <cstdlib>

#include "kernels/emulation/emulation.h"
#include "kernels/host/isa.h"
#include "kernels/testing/backend.h"
#include "kernels/validate.h"

namespace stowage::kernels::testing {
namespace {

constexpr int kParts = 3;

// The host function in kParts parts, last first: their order must not matter.
template <auto kHost, class Args>
int InParts(const Args& args, void*) {
  for (int i = kParts - 1; i >= 0; --i) {
    if (const int code = kHost(args, Part{i, kParts}); code != kOk) return code;
  }
  return kOk;
}

template <const HostIsa* isa>
int IsaLinear(const LinearArgs& a, void*) {
  if (!Valid(a)) return kInvalidValue;
  isa->linear(a, a.row_begin, a.row_end);
  return kOk;
}
template <const HostIsa* isa>
int IsaAttention(const AttentionArgs& a, void*) {
  if (!Valid(a)) return kInvalidValue;
  isa->attention(a, 0, std::int64_t{a.tokens} * a.batch * a.heads);
  return kOk;
}
template <const HostIsa* isa>
int IsaRmsNorm(const RmsNormArgs& a, void*) {
  if (!Valid(a)) return kInvalidValue;
  isa->rms_norm(a, 0, a.rows);
  return kOk;
}
template <const HostIsa* isa>
int IsaSiluMul(const SiluMulArgs& a, void*) {
  if (!Valid(a)) return kInvalidValue;
  isa->silu_mul(a, 0, a.count);
  return kOk;
}
template <const HostIsa* isa>
int IsaConvert(const ConvertArgs& a, void*) {
  if (!Valid(a)) return kInvalidValue;
  isa->convert(a, 0, a.count);
  return kOk;
}

KernelTable PartsTable() {
  return {.embedding = &InParts<&HostEmbedding, EmbeddingArgs>,
          .rms_norm = &InParts<&HostRmsNorm, RmsNormArgs>,
          .rope_cache = &InParts<&HostRopeCache, RopeCacheArgs>,
          .linear = &InParts<&HostLinear, LinearArgs>,
          .attention = &InParts<&HostAttention, AttentionArgs>,
          .silu_mul = &InParts<&HostSiluMul, SiluMulArgs>,
          .argmax = &InParts<&HostArgmax, ArgmaxArgs>,
          .convert = &InParts<&HostConvert, ConvertArgs>};
}

template <const HostIsa* isa>
KernelTable IsaTable() {
  KernelTable table = PartsTable();
  table.linear = &IsaLinear<isa>;
  table.attention = &IsaAttention<isa>;
  table.rms_norm = &IsaRmsNorm<isa>;
  table.silu_mul = &IsaSiluMul<isa>;
  table.convert = &IsaConvert<isa>;
  return table;
}

Backend InHostMemory(std::string name, const KernelTable& table) {
  return {.name = std::move(name),
          .table = table,
          .allocate = [](std::size_t bytes) { return std::aligned_alloc(256, (bytes + 255) / 256 * 256); },
          .release = [](void* memory) { std::free(memory); },
          .synchronize = [] { return kOk; },
          .last_error = [] { return emulation::LastError(); }};
}

std::vector<Backend> Backends() {
  std::vector<Backend> backends = {InHostMemory("emulated", EmulatedKernels()), InHostMemory("parts", PartsTable())};
  backends[0].linear_tiled = &emulated::LaunchLinearTiled;
  for (const HostIsa* isa : {&kHostBaseline, &kHostAvx2, &kHostAvx512}) {
    const std::vector<const HostIsa*> supported = SupportedHostIsas();
    const KernelTable table = isa == &kHostBaseline ? IsaTable<&kHostBaseline>()
                              : isa == &kHostAvx2   ? IsaTable<&kHostAvx2>()
                                                    : IsaTable<&kHostAvx512>();
    backends.push_back(InHostMemory(isa->name, table));
    if (std::find(supported.begin(), supported.end(), isa) == supported.end()) {
      backends.back().why_absent = std::string("this processor has no ") + isa->name;
    }
  }
  return backends;
}

INSTANTIATE_TEST_SUITE_P(Host, KernelTest, ::testing::ValuesIn(Backends()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace stowage::kernels::testing
