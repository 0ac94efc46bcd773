// main() of a fuzz target outside --config=fuzz: feeds it every file named on the command line, the empty input, and
// for each file a fixed set of mutations (truncations, flipped bits, overwritten bytes), so that an ordinary test run
// exercises a parser's error paths too. Deterministic: the same files give the same inputs.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;
constexpr std::uint32_t kMutations = 400;         // per file; a run stays well below a second
constexpr std::size_t kLargestMutated = 1 << 20;  // bytes; larger files are replayed as they are

// Numerical Recipes' linear congruential generator: the quality needed is "spread over the file".
class Sequence {
 public:
  std::uint32_t Next(std::size_t below) {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(state_) * below) >> 32);
  }

 private:
  std::uint32_t state_ = 1;
};

// The input is copied to a buffer of its exact size, so that the address sanitizer sees a read behind its end.
void Feed(const Input& input) {
  const Input exact(input.begin(), input.end());
  static const std::uint8_t kNothing = 0;
  LLVMFuzzerTestOneInput(exact.empty() ? &kNothing : exact.data(), exact.size());
}

Input Mutated(const Input& original, std::uint32_t kind, Sequence& sequence) {
  static constexpr std::uint8_t kTelling[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '{', '}', '[', '-'};
  Input input = original;
  const std::uint32_t at = sequence.Next(input.size());
  switch (kind % 4) {
    case 0:
      input.resize(at);
      break;
    case 1:
      input[at] = static_cast<std::uint8_t>(input[at] ^ (1u << sequence.Next(8)));
      break;
    case 2:
      input[at] = kTelling[sequence.Next(std::size(kTelling))];
      break;
    default:
      input.insert(input.begin() + at, kTelling[sequence.Next(std::size(kTelling))]);
      break;
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  Feed({});
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", argv[i]);
      return 1;
    }
    const Input input{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    Feed(input);
    if (input.empty() || input.size() > kLargestMutated) continue;
    Sequence sequence;
    for (std::uint32_t m = 0; m < kMutations; ++m) Feed(Mutated(input, m, sequence));
  }
  std::printf("replayed %d files and %u mutations of each\n", argc - 1, kMutations);
  return 0;
}
