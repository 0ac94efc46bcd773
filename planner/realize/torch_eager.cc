#include "planner/realize/torch_eager.h"

#include "planner/base/check.h"

namespace stowage::torch_eager {
namespace {

AffineBytes Sum(AffineBytes a, AffineBytes b) { return {a.base + b.base, a.step + b.step}; }

}  // namespace

Ref::Ref(const Ref& other) : eager_(other.eager_), id_(other.id_), spec_(other.spec_) {
  if (eager_ != nullptr) eager_->Retain(id_);
}

void Ref::Drop() {
  if (Eager* eager = std::exchange(eager_, nullptr)) eager->Release(id_);
}

Ref Ref::View(Count elements) const {
  Ref view = *this;
  view.spec_.elements = elements;
  return view;
}

StorageId Eager::NewStorage(std::string_view op, Spec spec, TorchRole role) {
  const auto id = static_cast<StorageId>(program_->storages.size());
  program_->storages.push_back({.op = op, .bytes = spec.bytes(), .module = Current(), .role = role});
  references_.push_back(1);
  return id;
}

Ref Eager::Empty(std::string_view op, Spec spec, TorchRole role) {
  const StorageId id = NewStorage(op, spec, role);
  program_->events.push_back({.kind = TorchEventKind::kAllocate, .storage = id, .module = Current()});
  return Ref(this, id, spec);
}

Ref Eager::Adopt(std::string_view op, Spec spec, TorchRole role) {
  const StorageId id = NewStorage(op, spec, role);
  program_->past.push_back(id);
  return Ref(this, id, spec);
}

Ref Eager::Op(std::string_view op, Spec result, std::initializer_list<const Ref*> inputs, const Weights& weights,
              std::optional<AffineFlops> flops) {
  Ref out = Empty(op, result);
  const AffineFlops one_each = {static_cast<double>(result.elements.base), static_cast<double>(result.elements.step)};
  Launch(op, inputs, {&out}, weights, flops.value_or(one_each));
  return out;
}

void Eager::Launch(std::string_view op, std::initializer_list<const Ref*> inputs,
                   std::initializer_list<const Ref*> outputs, const Weights& weights, AffineFlops flops) {
  TorchEvent event{.kind = TorchEventKind::kCompute, .module = Current(), .op = op, .flops = flops};
  event.moved = weights.bytes;
  event.weights = weights.tensors;
  for (const Ref* input : inputs) {
    event.reads.push_back(input->id());
    event.moved = Sum(event.moved, input->spec().bytes());
  }
  for (const Ref* output : outputs) {
    event.writes.push_back(output->id());
    event.moved = Sum(event.moved, output->spec().bytes());
    event.dtype = output->spec().dtype;
  }
  program_->events.push_back(event);
}

void Eager::Enter(ModuleId module, const Ref* unread) {
  if (module == kNoId) return;
  stack_.push_back(module);
  program_->events.push_back({.kind = TorchEventKind::kEnter, .module = module});
  if (unread != nullptr && unread->id() != kNoId) program_->events.back().reads.push_back(unread->id());
}

void Eager::Exit(ModuleId module) {
  if (module == kNoId) return;
  STOWAGE_CHECK(!stack_.empty() && stack_.back() == module);
  stack_.pop_back();
  program_->events.push_back({.kind = TorchEventKind::kExit, .module = module});
}

void Eager::Keep(Ref ref) {
  program_->kept.push_back(ref.id());
  ref.eager_ = nullptr;  // the reference is the caller's now; its count stays
}

void Eager::SetView(const Ref& ref, Spec view) { program_->storages[ref.id()].view = view.bytes(); }

void Eager::SetReturned(const Ref& ref) { program_->storages[ref.id()].returned = true; }

void Eager::SetRole(const Ref& ref, TorchRole role) { program_->storages[ref.id()].role = role; }

void Eager::Release(StorageId id) {
  STOWAGE_CHECK(references_[id] > 0);
  if (--references_[id] > 0) return;
  program_->events.push_back({.kind = TorchEventKind::kRelease, .storage = id, .module = Current()});
}

}  // namespace stowage::torch_eager
