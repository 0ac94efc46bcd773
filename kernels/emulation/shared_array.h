// The emulated __shared__ array: STOWAGE_SHARED of kernels/device.h.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/emulation/emulation.h"

namespace stowage::kernels::emulation {

// A __shared__ array that checks. Elements are reached through a reference that tells reads from writes.
template <class T, int N>
class SharedArray {
 public:
  class Reference {
   public:
    Reference(SharedArray* array, int index) : array_(array), index_(index) {}
    operator T() const { return array_->Read(index_); }  // NOLINT: stands in for T&
    Reference& operator=(T value) {
      array_->Write(index_, value);
      return *this;
    }
    Reference& operator=(const Reference& other) { return *this = static_cast<T>(other); }
    Reference& operator+=(T value) { return *this = static_cast<T>(*this) + value; }

   private:
    SharedArray* array_;
    int index_;
  };

  explicit SharedArray(const char* name) : name_(name) {}

  // Called where the kernel declares the array: the first thread of a block finds it unwritten.
  SharedArray& Enter() {
    if (serial_ != BlockSerial()) {
      serial_ = BlockSerial();
      for (int i = 0; i < N; ++i) writer_[i] = reader_[i] = Access{};
    }
    return *this;
  }

  Reference operator[](std::int64_t index) {
    if (index < 0 || index >= N) {
      Fail("shared " + Element(index) + " is outside its " + std::to_string(N) + " elements");
    }
    return Reference(this, static_cast<int>(index));
  }

 private:
  std::string Element(std::int64_t index) const { return std::string(name_) + "[" + std::to_string(index) + "]"; }

  T Read(int index) {
    const Access now = Now();
    if (writer_[index].thread < 0) Fail("shared " + Element(index) + " is read before it is written");
    if (!Ordered(writer_[index], now)) {
      Fail("shared " + Element(index) + " is read without a barrier after thread " +
           std::to_string(writer_[index].thread) + " wrote it");
    }
    reader_[index] = now;
    return values_[index];
  }

  void Write(int index, T value) {
    const Access now = Now();
    for (const Access* earlier : {&writer_[index], &reader_[index]}) {
      if (earlier->thread >= 0 && !Ordered(*earlier, now)) {
        Fail("shared " + Element(index) + " is written without a barrier after thread " +
             std::to_string(earlier->thread) + " used it");
      }
    }
    writer_[index] = now;
    values_[index] = value;
  }

  const char* name_;
  std::uint64_t serial_ = 0;
  T values_[N];
  Access writer_[N];
  Access reader_[N];
};

}  // namespace stowage::kernels::emulation
