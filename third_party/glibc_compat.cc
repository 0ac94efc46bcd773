// libstdc++.a of g++ 12 calls arc4random (for std::random_device), which glibc has only since 2.36. With this one the
// binaries also start on glibc 2.35 (Ubuntu 22.04). Linked into every binary by --custom_malloc in .bazelrc.
#include <sys/random.h>

#include <cstdint>
#include <cstdlib>

extern "C" std::uint32_t arc4random() noexcept {
  std::uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) std::abort();
  return value;
}
