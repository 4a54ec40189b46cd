#include "bench/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace bench {

void samples::add(double x) {
  sorted_ = all_.empty();
  all_.push_back(x);
}

std::size_t samples::size() const { return all_.size(); }

void samples::sort() const {
  if (!sorted_)
    std::sort(all_.begin(), all_.end());
  sorted_ = true;
}

double samples::percentile(double percent) const {
  if (!(percent >= 0 && percent <= 100))
    throw std::invalid_argument("a percentile is between 0 and 100");
  if (all_.empty())
    throw std::logic_error("nothing was measured");
  sort();
  const auto place = percent / 100 * static_cast<double>(all_.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const auto above = std::min(below + 1, all_.size() - 1);
  return all_[below] + (place - static_cast<double>(below)) * (all_[above] - all_[below]);
}

double samples::median() const { return percentile(50); }

double samples::min() const { return percentile(0); }

double samples::max() const { return percentile(100); }

} // namespace bench
