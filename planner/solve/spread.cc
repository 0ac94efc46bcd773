#include "planner/solve/spread.h"

#include <algorithm>

namespace stowage {
namespace {

class Spreader {
 public:
  Spreader(std::span<const SpreadItem> items, Bytes budget, Bytes alignment)
      : items_(items), alignment_(alignment), left_(std::max(budget, Bytes(0))), resident_(items.size()) {
    for (const SpreadItem& i : items) total_ += RoundUp(i.row * i.rows, alignment);
  }

  std::vector<std::int64_t> Run(Grain grain) {
    if (total_ <= left_) {
      for (std::size_t i = 0; i < items_.size(); ++i) resident_[i] = items_[i].rows;
      return resident_;
    }
    if (grain == Grain::kRows) {
      SameShareOfEach();
    } else {
      WholeItems();
    }
    FillTheRest();
    return resident_;
  }

 private:
  Bytes Size(std::size_t i, std::int64_t rows) const { return RoundUp(items_[i].row * rows, alignment_); }

  void SameShareOfEach() {
    const double share = static_cast<double>(left_.value()) / static_cast<double>(total_.value());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      auto rows = static_cast<std::int64_t>(static_cast<double>(items_[i].rows) * share);
      while (rows > 0 && Size(i, rows) > Share(i, share)) --rows;
      Take(i, rows);
    }
  }
  Bytes Share(std::size_t i, double share) const {
    return Bytes(static_cast<std::int64_t>(static_cast<double>(Size(i, items_[i].rows).value()) * share));
  }

  // Walks the items, keeping the resident bytes as near as whole items allow to the budget's share of those passed.
  // Which item is the last to fit depends on rounding, so an item that no longer fits is streamed.
  void WholeItems() {
    const double share = static_cast<double>(left_.value()) / static_cast<double>(total_.value());
    double owed = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const Bytes size = Size(i, items_[i].rows);
      owed += share * static_cast<double>(size.value());
      if (owed * 2 < static_cast<double>(size.value()) || size > left_) continue;
      owed -= static_cast<double>(size.value());
      Take(i, items_[i].rows);
    }
  }

  // What rounding left over goes to the first items that can use it.
  void FillTheRest() {
    for (std::size_t i = 0; i < items_.size() && left_ > Bytes(0); ++i) {
      if (resident_[i] == items_[i].rows) continue;
      const Bytes have = Size(i, resident_[i]);
      std::int64_t rows = std::min(items_[i].rows, ((have + left_) / items_[i].row.value()).value());
      while (rows > resident_[i] && Size(i, rows) > have + left_) --rows;
      left_ += have;
      resident_[i] = std::max(resident_[i], rows);
      left_ -= Size(i, resident_[i]);
    }
  }

  void Take(std::size_t i, std::int64_t rows) {
    resident_[i] = rows;
    left_ -= Size(i, rows);
  }

  std::span<const SpreadItem> items_;
  const Bytes alignment_;
  Bytes total_, left_;
  std::vector<std::int64_t> resident_;
};

}  // namespace

std::vector<std::int64_t> SpreadResident(std::span<const SpreadItem> items, Bytes budget, Grain grain,
                                         Bytes alignment) {
  return Spreader(items, budget, alignment).Run(grain);
}

}  // namespace stowage
