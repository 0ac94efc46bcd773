#include "planner/strategy/native/ring.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/base/check.h"
#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::int32_t kLongestPeriod = 8;  // passes unrolled at most; a longer period wins little and costs steps

// Offsets of one pass of items after `head`, and the head after them.
std::vector<Bytes> GoAround(const std::vector<StreamItem>& items, Bytes ring, Bytes& head) {
  std::vector<Bytes> offsets;
  for (const StreamItem& item : items) {
    const Bytes size = RoundUp(item.bytes, kAlignment);
    if (head + size > ring) head = Bytes(0);
    offsets.push_back(head);
    head += size;
  }
  return offsets;
}

// An item in the ring: which bytes, and the launch that needs them last (-1: not issued yet).
struct Held {
  std::int64_t begin = 0, end = 0;
  std::int32_t reader = -1;
};

class Emitter {
 public:
  Emitter(const PassUnits& prefill, const PassUnits& decode, const RingOffsets& offsets, Bytes ring,
          std::int32_t passes)
      : prefill_(prefill), decode_(decode), offsets_(offsets), ring_(ring), passes_(passes), held_of_(passes + 1) {}

  Result<RingOrder> Run() {
    for (std::int32_t pass = 0; pass <= passes_; ++pass) {
      order_.begin.push_back(static_cast<std::int32_t>(order_.steps.size()));
      RunAhead(pass + 1);
      const PassUnits& units = Units(pass);
      for (std::size_t u = 0; u < units.units.size(); ++u) {
        STOWAGE_RETURN_IF_ERROR(Launch(pass, static_cast<std::int32_t>(u)));
        RunAhead(pass + 1);
      }
    }
    order_.begin.push_back(static_cast<std::int32_t>(order_.steps.size()));
    return std::move(order_);
  }

 private:
  const PassUnits& Units(std::int32_t pass) const { return pass == 0 ? prefill_ : decode_; }

  std::int64_t Offset(std::int32_t pass, std::int32_t item) const {
    if (pass == 0) return offsets_.prefill[item].value();
    return offsets_.decode[(pass - 1) % offsets_.period][item].value();
  }

  // Issues every copy, up to those of pass `limit`, whose bytes no unissued launch needs.
  void RunAhead(std::int32_t limit) {
    while (next_pass_ <= std::min(limit, passes_)) {
      const std::vector<StreamItem>& items = Units(next_pass_).items;
      if (next_item_ == static_cast<std::int32_t>(items.size())) {
        ++next_pass_;
        next_item_ = 0;
        continue;
      }
      if (!TryCopy(items[next_item_])) return;
      ++next_item_;
    }
  }

  bool TryCopy(const StreamItem& item) {
    const std::int64_t begin = Offset(next_pass_, next_item_);
    const std::int64_t end = begin + RoundUp(item.bytes, kAlignment).value();
    const auto overlaps = [&](std::int32_t h) { return held_[h].begin < end && begin < held_[h].end; };
    std::int32_t last_reader = -1;
    for (const std::int32_t h : live_) {
      if (!overlaps(h)) continue;
      if (held_[h].reader < 0) return false;
      last_reader = std::max(last_reader, held_[h].reader);  // launches share a queue: the last implies the others
    }
    live_.erase(std::remove_if(live_.begin(), live_.end(), overlaps), live_.end());
    RingStep step{.copy = true, .pass = next_pass_, .index = next_item_};
    if (last_reader >= 0) step.after.push_back(last_reader);
    live_.push_back(static_cast<std::int32_t>(held_.size()));
    held_of_[next_pass_].push_back(static_cast<std::int32_t>(held_.size()));
    held_.push_back({begin, end, -1});
    copy_of_.push_back(static_cast<std::int32_t>(order_.steps.size()));
    order_.steps.push_back(std::move(step));
    return true;
  }

  Status Launch(std::int32_t pass, std::int32_t unit) {
    const std::int32_t item = Units(pass).units[unit].item;
    RingStep step{.copy = false, .pass = pass, .index = unit};
    if (item >= 0) {
      if (item >= static_cast<std::int32_t>(held_of_[pass].size())) {
        return Error{ErrorCode::kInvalidInput, fmt::format("a ring of {} cannot hold a piece of {}", FormatBytes(ring_),
                                                           FormatBytes(Units(pass).items[item].bytes))};
      }
      const std::int32_t h = held_of_[pass][item];
      held_[h].reader = static_cast<std::int32_t>(order_.steps.size());
      step.after.push_back(copy_of_[h]);
    }
    order_.steps.push_back(std::move(step));
    return OkStatus();
  }

  const PassUnits& prefill_;
  const PassUnits& decode_;
  const RingOffsets& offsets_;
  const Bytes ring_;
  const std::int32_t passes_;
  RingOrder order_;
  std::vector<Held> held_;                          // every copy ever issued
  std::vector<std::int32_t> copy_of_;               // by held: its step
  std::vector<std::vector<std::int32_t>> held_of_;  // [pass][item]
  std::vector<std::int32_t> live_;                  // held items not overwritten yet
  std::int32_t next_pass_ = 0, next_item_ = 0;
};

}  // namespace

RingOffsets PlaceInRing(const std::vector<StreamItem>& prefill, const std::vector<StreamItem>& decode, Bytes ring) {
  RingOffsets out;
  Bytes head;
  out.prefill = GoAround(prefill, ring, head);
  std::vector<std::vector<Bytes>> passes;
  Bytes best_head;
  head = Bytes(0);
  for (std::int32_t p = 1; p <= kLongestPeriod; ++p) {
    passes.push_back(GoAround(decode, ring, head));
    if (p > 1 && head <= best_head) continue;
    best_head = head;
    out.period = p;
    if ((ring - head) * 10 <= ring) break;  // a tenth of the ring skipped once a period is little enough
  }
  passes.resize(out.period);
  out.decode = std::move(passes);
  return out;
}

Result<RingOrder> OrderRing(const PassUnits& prefill, const PassUnits& decode, const RingOffsets& offsets, Bytes ring,
                            std::int32_t passes) {
  return Emitter(prefill, decode, offsets, ring, passes).Run();
}

}  // namespace stowage
