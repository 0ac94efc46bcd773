// A stack of its own that can be entered and left: the thread of an emulated block. x86-64 only (DESIGN: the product
// is). A switch costs a few nanoseconds; ucontext would make a system call. AddressSanitizer and ThreadSanitizer are
// told.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace stowage::kernels::emulation {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes the next Resume start `entry(argument)`. What ran before is abandoned: its destructors never run.
  void Start(void (*entry)(void*), void* argument);

  // Runs the fiber until it suspends or finishes; true while it has not finished. Called from outside any fiber.
  bool Resume();

  // Called on the fiber: goes back to Resume's caller.
  void Suspend();

 private:
  struct State;
  static void Trampoline(Fiber* self);
  std::unique_ptr<State> state_;
};

}  // namespace stowage::kernels::emulation
