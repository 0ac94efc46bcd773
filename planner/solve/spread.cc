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
    for (std::size_t i = 0; i < items_.size(); ++i) TakeShare(i, share);
  }
  void TakeShare(std::size_t i, double share) {
    auto rows = static_cast<std::int64_t>(static_cast<double>(items_[i].rows) * share);
    while (rows > 0 && Size(i, rows) > std::min(Share(i, share), left_)) --rows;
    Take(i, rows);
  }
  Bytes Median() const {
    std::vector<Bytes> sizes;
    for (std::size_t i = 0; i < items_.size(); ++i) sizes.push_back(Size(i, items_[i].rows));
    std::nth_element(sizes.begin(), sizes.begin() + sizes.size() / 2, sizes.end());
    return sizes[sizes.size() / 2];
  }
  Bytes Share(std::size_t i, double share) const {
    return Bytes(static_cast<std::int64_t>(static_cast<double>(Size(i, items_[i].rows).value()) * share));
  }

  // Walks the items, keeping the resident bytes as near as whole items allow to the budget's share of those passed.
  // Which item is the last to fit depends on rounding, so an item that no longer fits is streamed.
  void WholeItems() {
    const double share = static_cast<double>(left_.value()) / static_cast<double>(total_.value());
    const Bytes long_run = Median() * 2;
    double owed = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const Bytes size = Size(i, items_[i].rows);
      if (size > long_run) {  // a head: streamed whole it would be one long run
        TakeShare(i, share);
        continue;
      }
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
