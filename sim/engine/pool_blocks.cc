#include "sim/engine/pool_blocks.h"

#include <vector>

namespace stowage::sim {
namespace {

class ExactBlocks final : public PoolBlocks {
 public:
  ExactBlocks(Bytes limit, std::size_t buffers) : limit_(limit), bytes_(buffers) {}

  Change Allocate(BufferId buffer, Bytes bytes, std::int32_t) override {
    if (used_ + bytes > limit_) return {.fits = false};
    bytes_[static_cast<std::size_t>(buffer)] = bytes;
    used_ += bytes;
    return {};
  }
  void Free(BufferId buffer) override { used_ -= bytes_[static_cast<std::size_t>(buffer)]; }
  void RecordStream(BufferId, std::int32_t) override {}
  Change EmptyCache() override { return {}; }
  Bytes used() const override { return used_; }
  Bytes allocated() const override { return used_; }

 private:
  Bytes limit_;
  Bytes used_;
  std::vector<Bytes> bytes_;  // by buffer
};

}  // namespace

std::unique_ptr<PoolBlocks> MakeExactBlocks(Bytes limit, std::size_t buffers) {
  return std::make_unique<ExactBlocks>(limit, buffers);
}

}  // namespace stowage::sim
