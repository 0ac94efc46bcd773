#include "kernels/emulation/fiber.h"

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define STOWAGE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STOWAGE_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define STOWAGE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STOWAGE_TSAN 1
#endif
#endif
#if defined(STOWAGE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(STOWAGE_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

// Saves the callee-saved registers on the current stack, stores its pointer to *save, and continues on `load`.
extern "C" void StowageSwitchStack(void** save, void* load);
extern "C" void StowageFiberThunk();  // calls r13 with r12
asm(R"(
.text
.globl StowageSwitchStack
.type StowageSwitchStack, @function
StowageSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size StowageSwitchStack, .-StowageSwitchStack
.globl StowageFiberThunk
.type StowageFiberThunk, @function
StowageFiberThunk:
  movq %r12, %rdi
  call *%r13
  ud2
.size StowageFiberThunk, .-StowageFiberThunk
)");

namespace stowage::kernels::emulation {

namespace {
// Kernels need little. Under AddressSanitizer every start maps a fake stack of 11 times this size.
constexpr std::size_t kStackBytes = 64 * 1024;
}  // namespace

struct Fiber::State {
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  void* own = nullptr;  // stack pointers while not running
  void* caller = nullptr;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  bool finished = true;
#if defined(STOWAGE_ASAN)
  void* own_fake = nullptr;
  void* caller_fake = nullptr;
  const void* caller_bottom = nullptr;
  std::size_t caller_bytes = 0;
#endif
#if defined(STOWAGE_TSAN)
  void* tsan_own = nullptr;
  void* tsan_caller = nullptr;
#endif
};

Fiber::Fiber() : state_(std::make_unique<State>()) {}

Fiber::~Fiber() {  // NOLINT(modernize-use-equals-default): sanitizers need it
#if defined(STOWAGE_TSAN)
  if (state_->tsan_own) __tsan_destroy_fiber(state_->tsan_own);
#endif
#if defined(STOWAGE_ASAN)
  __asan_unpoison_memory_region(state_->stack.get(), kStackBytes);
#endif
}

void Fiber::Start(void (*entry)(void*), void* argument) {
  State& s = *state_;
#if defined(STOWAGE_ASAN)
  if (!s.finished) __asan_unpoison_memory_region(s.stack.get(), kStackBytes);  // frames of an abandoned run
  s.own_fake = nullptr;
#endif
  s.entry = entry;
  s.argument = argument;
  s.finished = false;
#if defined(STOWAGE_TSAN)
  if (s.tsan_own) __tsan_destroy_fiber(s.tsan_own);
  s.tsan_own = __tsan_create_fiber(0);
#endif
  // The frame that StowageSwitchStack pops, six registers and the return address. It starts 9 words below the top, so
  // that the stack is aligned where FiberThunk calls. FiberThunk finds Trampoline and its argument in r13 and r12.
  auto top = reinterpret_cast<std::uintptr_t>(s.stack.get() + kStackBytes) & ~std::uintptr_t{15};
  auto* frame = reinterpret_cast<std::uint64_t*>(top) - 9;  // NOLINT(performance-no-int-to-ptr): the stack's top
  for (int i = 0; i < 9; ++i) frame[i] = 0;
  frame[3] = reinterpret_cast<std::uint64_t>(this);                // r12
  frame[2] = reinterpret_cast<std::uint64_t>(&Trampoline);         // r13
  frame[6] = reinterpret_cast<std::uint64_t>(&StowageFiberThunk);  // return address
  s.own = frame;
}

void Fiber::Trampoline(Fiber* self) {
  State& s = *self->state_;
#if defined(STOWAGE_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &s.caller_bottom, &s.caller_bytes);
#endif
  s.entry(s.argument);
  s.finished = true;
#if defined(STOWAGE_ASAN)
  __sanitizer_start_switch_fiber(nullptr, s.caller_bottom, s.caller_bytes);  // null: this stack's fake frames go
#endif
#if defined(STOWAGE_TSAN)
  __tsan_switch_to_fiber(s.tsan_caller, 0);
#endif
  StowageSwitchStack(&s.own, s.caller);
  __builtin_unreachable();
}

bool Fiber::Resume() {
  State& s = *state_;
#if defined(STOWAGE_ASAN)
  __sanitizer_start_switch_fiber(&s.caller_fake, s.stack.get(), kStackBytes);
#endif
#if defined(STOWAGE_TSAN)
  s.tsan_caller = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(s.tsan_own, 0);
#endif
  StowageSwitchStack(&s.caller, s.own);
#if defined(STOWAGE_ASAN)
  __sanitizer_finish_switch_fiber(s.caller_fake, nullptr, nullptr);
#endif
  return !s.finished;
}

void Fiber::Suspend() {
  State& s = *state_;
#if defined(STOWAGE_ASAN)
  __sanitizer_start_switch_fiber(&s.own_fake, s.caller_bottom, s.caller_bytes);
#endif
#if defined(STOWAGE_TSAN)
  __tsan_switch_to_fiber(s.tsan_caller, 0);
#endif
  StowageSwitchStack(&s.own, s.caller);
#if defined(STOWAGE_ASAN)
  __sanitizer_finish_switch_fiber(s.own_fake, &s.caller_bottom, &s.caller_bytes);
#endif
}

}  // namespace stowage::kernels::emulation
