#include "kernels/cublaslt.h"

#if defined(STOWAGE_CUDA)

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "kernels/validate.h"

namespace stowage::kernels {
namespace {

// The functions used, each with the type its header declares.
struct Functions {
#define STOWAGE_CUBLASLT_FUNCTIONS(F)     \
  F(cublasLtCreate)                       \
  F(cublasLtDestroy)                      \
  F(cublasLtGetVersion)                   \
  F(cublasLtMatmul)                       \
  F(cublasLtMatmulAlgoCheck)              \
  F(cublasLtMatmulAlgoConfigGetAttribute) \
  F(cublasLtMatmulAlgoGetHeuristic)       \
  F(cublasLtMatmulDescCreate)             \
  F(cublasLtMatmulDescDestroy)            \
  F(cublasLtMatmulDescSetAttribute)       \
  F(cublasLtMatmulPreferenceCreate)       \
  F(cublasLtMatmulPreferenceDestroy)      \
  F(cublasLtMatmulPreferenceSetAttribute) \
  F(cublasLtMatrixLayoutCreate)           \
  F(cublasLtMatrixLayoutDestroy)
#define STOWAGE_DECLARE(name) decltype(&::name) name = nullptr;
  STOWAGE_CUBLASLT_FUNCTIONS(STOWAGE_DECLARE)
#undef STOWAGE_DECLARE

  // The first function the library lacks; null if it has all.
  const char* Load(void* library) {
#define STOWAGE_LOAD(name)                                           \
  name = reinterpret_cast<decltype(&::name)>(dlsym(library, #name)); \
  if (!name) return #name;
    STOWAGE_CUBLASLT_FUNCTIONS(STOWAGE_LOAD)
#undef STOWAGE_LOAD
    return nullptr;
  }
};

// Where the toolkit or the driver's packages put it; the loader's own path is tried first.
constexpr const char* kFiles[] = {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.13",
                                  "/usr/local/cuda/lib64/libcublasLt.so.12"};

cudaDataType_t CudaType(Dtype dtype) {
  return dtype == Dtype::kF32 ? CUDA_R_32F : dtype == Dtype::kF16 ? CUDA_R_16F : CUDA_R_16BF;
}

// What an algorithm is pinned for.
struct Key {
  Dtype dtype;
  int rows, n, k;
  bool bias, accumulate;
  auto operator<=>(const Key&) const = default;
};

std::string Text(const Key& key) {
  const char* dtype = key.dtype == Dtype::kF32 ? "fp32" : key.dtype == Dtype::kF16 ? "fp16" : "bf16";
  return std::string(dtype) + " rows " + std::to_string(key.rows) + " n " + std::to_string(key.n) + " k " +
         std::to_string(key.k) + (key.bias ? " bias" : "") + (key.accumulate ? " accumulate" : "");
}

bool Aligned16(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

// Descriptors of one product in the library's column-major terms: y [n x rows] = W' [n x k] x [k x rows], where W' is
// the transpose of the k x n matrix that our row-major W is to the library.
class Product {
 public:
  Product(const Functions& f, const Key& key, int tile_rows, const void* bias) : f_(f) {
    const cudaDataType_t type = CudaType(key.dtype);
    Note(f.cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    Note(f.cublasLtMatrixLayoutCreate(&weight, type, key.k, tile_rows, key.k));
    Note(f.cublasLtMatrixLayoutCreate(&x, type, key.k, key.rows, key.k));
    Note(f.cublasLtMatrixLayoutCreate(&y, type, tile_rows, key.rows, key.n));
    Set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (key.bias) {
      Set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() {
    for (cublasLtMatrixLayout_t layout : {weight, x, y}) {
      if (layout) f_.cublasLtMatrixLayoutDestroy(layout);
    }
    if (operation) f_.cublasLtMatmulDescDestroy(operation);
  }

  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, y = nullptr;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;  // the first error of the above

 private:
  void Note(cublasStatus_t result) {
    if (status == CUBLAS_STATUS_SUCCESS) status = result;
  }
  template <class T>
  void Set(cublasLtMatmulDescAttributes_t attribute, T value) {
    if (status == CUBLAS_STATUS_SUCCESS) {
      status = f_.cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value);
    }
  }

  const Functions& f_;
};

}  // namespace

class CublasLt::Impl {
 public:
  ~Impl() {
    if (handle) f.cublasLtDestroy(handle);
    // The library stays loaded: CUDA libraries register handlers that run when the process exits.
  }

  // The algorithm for the key, chosen at its first use; null means the own kernel.
  const cublasLtMatmulAlgo_t* Pinned(const Key& key) {
    const auto found = pinned.find(key);
    if (found != pinned.end()) return found->second ? &*found->second : nullptr;
    auto& choice = pinned[key] = Choose(key);
    return choice ? &*choice : nullptr;
  }

  std::uint32_t Config(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) const {
    std::uint32_t value = 0;
    std::size_t written = 0;
    f.cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written);
    return value;
  }

  Functions f;
  cublasLtHandle_t handle = nullptr;
  std::string file;
  std::map<Key, std::optional<cublasLtMatmulAlgo_t>> pinned;

 private:
  // The best algorithm of the heuristic that sums over k in one piece and takes tiles of any allowed height.
  std::optional<cublasLtMatmulAlgo_t> Choose(const Key& key) const {
    if (key.n % kCublasLtTileRows != 0 || key.k % kCublasLtTileRows != 0) return std::nullopt;
    for (const cublasLtMatmulHeuristicResult_t& result : Heuristic(key)) {
      if (result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize != 0) continue;
      if (Config(result.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1) continue;
      if (Config(result.algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) != CUBLASLT_REDUCTION_SCHEME_NONE) continue;
      const std::array<int, 5> heights = {kCublasLtTileRows, 64, 136, 1024, key.n};
      const bool fits_tiles = std::all_of(heights.begin(), heights.end(), [&](int height) {
        return height > key.n || Accepts(key, height, result.algo);
      });
      if (fits_tiles) return result.algo;
    }
    return std::nullopt;
  }

  std::vector<cublasLtMatmulHeuristicResult_t> Heuristic(const Key& key) const {
    const Product product(f, key, key.n, nullptr);
    cublasLtMatmulPreference_t preference = nullptr;
    if (product.status != CUBLAS_STATUS_SUCCESS) return {};
    if (f.cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS) return {};
    const std::uint64_t workspace = 0;
    const std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
    f.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                           sizeof workspace);
    f.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                           sizeof reductions);
    std::vector<cublasLtMatmulHeuristicResult_t> results(16);
    int count = 0;
    const cublasStatus_t status =
        f.cublasLtMatmulAlgoGetHeuristic(handle, product.operation, product.weight, product.x, product.y, product.y,
                                         preference, static_cast<int>(results.size()), results.data(), &count);
    f.cublasLtMatmulPreferenceDestroy(preference);
    results.resize(status == CUBLAS_STATUS_SUCCESS ? count : 0);
    return results;
  }

  bool Accepts(const Key& key, int height, const cublasLtMatmulAlgo_t& algorithm) const {
    const Product product(f, key, height, nullptr);
    if (product.status != CUBLAS_STATUS_SUCCESS) return false;
    cublasLtMatmulHeuristicResult_t result = {};
    const cublasStatus_t status = f.cublasLtMatmulAlgoCheck(handle, product.operation, product.weight, product.x,
                                                            product.y, product.y, &algorithm, &result);
    return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize == 0;
  }
};

CublasLt::CublasLt(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CublasLt::~CublasLt() = default;

std::unique_ptr<CublasLt> CublasLt::Open(std::string* why) {
  void* library = nullptr;
  auto impl = std::make_unique<Impl>();
  for (const char* file : kFiles) {
    library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    impl->file = file;
    if (library) break;
  }
  if (!library) {
    *why = "no libcublasLt.so.13 or .12 was found";
    return nullptr;
  }
  if (const char* missing = impl->f.Load(library)) {
    *why = impl->file + " has no " + missing;
    return nullptr;
  }
  if (const cublasStatus_t status = impl->f.cublasLtCreate(&impl->handle); status != CUBLAS_STATUS_SUCCESS) {
    impl->handle = nullptr;
    *why = impl->file + ": cublasLtCreate returned " + std::to_string(status) + " (is there a CUDA device?)";
    return nullptr;
  }
  return std::unique_ptr<CublasLt>(new CublasLt(std::move(impl)));
}

int CublasLt::Linear(const LinearArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  if (args.rows <= kLinearSmallRows) return LaunchLinearSmall(args, stream);
  const Key key = {args.dtype, args.rows, args.n, args.k, args.bias != nullptr, args.accumulate};
  const cublasLtMatmulAlgo_t* algorithm = impl_->Pinned(key);
  if (!algorithm) return LaunchLinearTiled(args, stream);
  const bool aligned = Aligned16(args.x) && Aligned16(args.weight) && Aligned16(args.y);
  if (!aligned || args.row_begin % kCublasLtTileRows != 0) return kInvalidValue;

  const std::int64_t offset = std::int64_t{args.row_begin} * ElementBytes(args.dtype);
  const char* bias = args.bias ? static_cast<const char*>(args.bias) + offset : nullptr;
  char* y = static_cast<char*>(args.y) + offset;
  const Product product(impl_->f, key, args.row_end - args.row_begin, bias);
  if (product.status != CUBLAS_STATUS_SUCCESS) return kCublasLtError + product.status;
  const float one = 1.0f;
  const float beta = args.accumulate ? 1.0f : 0.0f;
  const cublasStatus_t status = impl_->f.cublasLtMatmul(
      impl_->handle, product.operation, &one, args.weight, product.weight, args.x, product.x, &beta, y, product.y, y,
      product.y, algorithm, nullptr, 0, static_cast<cudaStream_t>(stream));
  return status == CUBLAS_STATUS_SUCCESS ? kOk : kCublasLtError + status;
}

std::string CublasLt::Describe() const {
  std::string text;
  for (const auto& [key, algorithm] : impl_->pinned) {
    text += Text(key) + ": ";
    if (algorithm) {
      text += "algorithm " + std::to_string(impl_->Config(*algorithm, CUBLASLT_ALGO_CONFIG_ID)) + " tile " +
              std::to_string(impl_->Config(*algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID)) + " stages " +
              std::to_string(impl_->Config(*algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID));
    } else {
      text += "own kernel";
    }
    text += "\n";
  }
  return text;
}

std::string CublasLt::Library() const { return impl_->file + " " + std::to_string(impl_->f.cublasLtGetVersion()); }

}  // namespace stowage::kernels

#else

namespace stowage::kernels {

class CublasLt::Impl {};
CublasLt::CublasLt(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CublasLt::~CublasLt() = default;
std::unique_ptr<CublasLt> CublasLt::Open(std::string* why) {
  *why = "built without the CUDA toolkit";
  return nullptr;
}
int CublasLt::Linear(const LinearArgs&, void*) { return kUnavailable; }
std::string CublasLt::Describe() const { return ""; }
std::string CublasLt::Library() const { return ""; }

}  // namespace stowage::kernels

#endif
