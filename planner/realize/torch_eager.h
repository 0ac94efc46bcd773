// Python's reference counting over torch storages. Internal to planner/realize: the family files write a forward pass
// with these words, and the events of a TorchProgram fall out.
//
//   Python                                  here
//   a = x * y                               Ref a = eager.Op("mul.Tensor", x.shape(), {x, y});
//   b = f(a)                                Ref b = F(a);     (arguments by const reference: the caller holds them)
//   b = f(g(x))                             Ref t = G(x); Ref b = F(t); t.Drop();
//   a = f(a)                                a = F(a);         (assignment drops the old value last)
//   return: locals die in order of their    a.Drop(); b.Drop();
//   first assignment, arguments first
// One call a statement, and locals dropped by name: C++ has its own orders of evaluation and destruction.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/realize/torch.h"

namespace stowage::torch_eager {

// Elements of iteration i: base + i * step.
struct Count {
  std::int64_t base = 0;
  std::int64_t step = 0;
  friend Count operator+(Count a, Count b) { return {a.base + b.base, a.step + b.step}; }
  friend Count operator*(Count a, std::int64_t n) { return {a.base * n, a.step * n}; }
  friend Count operator/(Count a, std::int64_t n) { return {a.base / n, a.step / n}; }
  friend bool operator==(Count a, Count b) = default;
};

struct Spec {
  Count elements;
  DType dtype = DType::kBF16;
  AffineBytes bytes() const { return {SizeOf(dtype, elements.base).value(), SizeOf(dtype, elements.step).value()}; }
};

// What a kernel reads beside its inputs.
struct Weights {
  ShortList<TensorId, 2> tensors = {};
  Bytes bytes = {};  // of them, as far as they are read
};

class Eager;

// One reference to a storage, as held by a Python variable, argument or temporary.
class Ref {
 public:
  Ref() = default;
  Ref(const Ref& other);
  Ref(Ref&& other) noexcept : eager_(std::exchange(other.eager_, nullptr)), id_(other.id_), spec_(other.spec_) {}
  Ref& operator=(Ref other) noexcept {  // by value: the new reference exists before the old one goes
    std::swap(eager_, other.eager_);
    std::swap(id_, other.id_);
    std::swap(spec_, other.spec_);
    return *this;
  }
  ~Ref() { Drop(); }
  void Drop();

  StorageId id() const { return id_; }
  const Spec& spec() const { return spec_; }
  // x[..., :n], x.view(...): the same storage, another count of elements.
  Ref View(Count elements) const;

 private:
  friend class Eager;
  Ref(Eager* eager, StorageId id, Spec spec) : eager_(eager), id_(id), spec_(spec) {}
  Eager* eager_ = nullptr;
  StorageId id_ = kNoId;
  Spec spec_;
};

class Eager {
 public:
  explicit Eager(TorchProgram* program) : program_(program) {}
  Eager(const Eager&) = delete;
  Eager& operator=(const Eager&) = delete;

  // An allocation without a kernel.
  Ref Empty(std::string_view op, Spec spec, TorchRole role = TorchRole::kTemporary);
  // A storage that was there before the pass.
  Ref Adopt(std::string_view op, Spec spec, TorchRole role);
  // Allocates the result and launches a kernel that reads `inputs` whole and so many bytes of the weights.
  Ref Op(std::string_view op, Spec result, std::initializer_list<const Ref*> inputs, const Weights& weights = {},
         std::optional<AffineFlops> flops = std::nullopt);  // default: one per element of the result
  // Launches a kernel that writes storages already allocated.
  void Launch(std::string_view op, std::initializer_list<const Ref*> inputs, std::initializer_list<const Ref*> outputs,
              const Weights& weights, AffineFlops flops);
  // kNoId: a module that the model's tree does not have; no event. `unread`: an argument that nothing in it reads.
  void Enter(ModuleId module, const Ref* unread = nullptr);
  void Exit(ModuleId module);
  ModuleId Current() const { return stack_.empty() ? kNoId : stack_.back(); }  // the innermost module that runs

  // The caller outlives the pass: the storage is never released.
  void Keep(Ref ref);
  void SetRole(const Ref& ref, TorchRole role);
  void SetReturned(const Ref& ref);
  void SetView(const Ref& ref, Spec view);

 private:
  friend class Ref;
  void Retain(StorageId id) { ++references_[id]; }
  void Release(StorageId id);
  StorageId NewStorage(std::string_view op, Spec spec, TorchRole role);
  TorchProgram* program_;
  std::vector<std::int32_t> references_;
  std::vector<ModuleId> stack_;
};

}  // namespace stowage::torch_eager
