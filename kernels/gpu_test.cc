// The family tests on a CUDA device, and cuBLASLt. Skipped, with the reason, where there is none.
#include <cuda_runtime_api.h>

#include "kernels/cublaslt.h"
#include "kernels/testing/backend.h"
#include "kernels/testing/tensor.h"

namespace stowage::kernels::testing {
namespace {

std::string WhyNoDevice() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return "";
  cudaGetLastError();
  return std::string("no CUDA device: ") + (code == cudaSuccess ? "count is 0" : cudaGetErrorString(code));
}

Backend Cuda() {
  return {.name = "cuda",
          .table = CudaKernels(),
          .linear_tiled = &LaunchLinearTiled,
          .allocate =
              [](std::size_t bytes) {
                void* memory = nullptr;
                return cudaMallocManaged(&memory, bytes) == cudaSuccess ? memory : nullptr;
              },
          .release = [](void* memory) { cudaFree(memory); },
          .synchronize = [] { return static_cast<int>(cudaDeviceSynchronize()); },
          .last_error = [] { return std::string(cudaGetErrorString(cudaPeekAtLastError())); },
          .why_absent = WhyNoDevice()};
}

INSTANTIATE_TEST_SUITE_P(Gpu, KernelTest, ::testing::Values(Cuda()), [](const auto& info) { return info.param.name; });

class CublasLtTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    std::string why;
    library_ = CublasLt::Open(&why);
    if (!library_) GTEST_SKIP() << why;
  }
  std::unique_ptr<CublasLt> library_;
};

INSTANTIATE_TEST_SUITE_P(Gpu, CublasLtTest, ::testing::Values(Cuda()));

struct Matrix {
  Matrix(const Backend& backend, Dtype dtype, int rows, int k, int n, std::mt19937& random)
      : x(backend, dtype, std::int64_t{rows} * k),
        weight(backend, dtype, std::int64_t{n} * k),
        bias(backend, dtype, n),
        before(backend, dtype, std::int64_t{rows} * n) {
    x.Random(random);
    weight.Random(random, 1.0f / std::sqrt(static_cast<float>(k)));
    bias.Random(random);
    before.Random(random);
  }
  Tensor x, weight, bias, before;
};

TEST_P(CublasLtTest, MatchesOurTiledKernelAndItsTilesGiveTheBytesOfTheWhole) {
  struct Shape {
    int rows, k, n;
  };
  for (const Dtype dtype : kDtypes) {
    for (const Shape& s : {Shape{9, 64, 128}, Shape{32, 256, 520}, Shape{128, 1024, 1024}, Shape{200, 512, 1376}}) {
      for (const bool fused : {false, true}) {
        Matrix m(backend(), dtype, s.rows, s.k, s.n, random_);
        Tensor own(backend(), dtype, m.before.count());
        Tensor whole(backend(), dtype, m.before.count());
        LinearArgs args = {.dtype = dtype,
                           .rows = s.rows,
                           .k = s.k,
                           .n = s.n,
                           .row_begin = 0,
                           .row_end = s.n,
                           .x = m.x.data(),
                           .weight = m.weight.data(),
                           .bias = fused ? m.bias.data() : nullptr,
                           .accumulate = fused};
        for (Tensor* y : {&own, &whole}) y->CopyFrom(m.before);
        args.y = own.data();
        ASSERT_TRUE(Run(&LaunchLinearTiled, args));
        args.y = whole.data();
        ASSERT_EQ(library_->Linear(args, nullptr), kOk);
        ASSERT_EQ(backend().synchronize(), kOk);
        for (std::int64_t i = 0; i < own.count(); ++i) {  // random signs: sums grow as a root; both round the result
          const double tolerance = 16 * s.k * kFp32Roundoff + 4 * UnitRoundoff(dtype) * (1 + std::abs(own[i]));
          ASSERT_TRUE(Near(whole[i], own[i], tolerance, Name(dtype) + " element " + std::to_string(i)));
        }
        for (const int tile : {8, 64, 200, 512}) {
          Tensor tiled(backend(), dtype, m.before.count());
          tiled.CopyFrom(m.before);
          for (int begin = 0; begin < s.n; begin += tile) {
            LinearArgs piece = args;
            piece.row_begin = begin;
            piece.row_end = std::min(begin + tile, s.n);
            piece.weight = m.weight.At(std::int64_t{begin} * s.k);
            piece.y = tiled.data();
            ASSERT_EQ(library_->Linear(piece, nullptr), kOk);
          }
          ASSERT_EQ(backend().synchronize(), kOk);
          ASSERT_TRUE(tiled.SameBytes(whole)) << "tiles of " << tile << "\n" << library_->Describe();
          ASSERT_TRUE(tiled.GuardsIntact());
        }
      }
    }
  }
  std::printf("%s\n%s", library_->Library().c_str(), library_->Describe().c_str());
}

}  // namespace
}  // namespace stowage::kernels::testing
