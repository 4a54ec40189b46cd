#include "troupe/transport/failure_detector.hpp"

#include <algorithm>
#include <cmath>

namespace troupe {

namespace {

double seconds(failure_detector::duration d) { return std::chrono::duration<double>(d).count(); }

} // namespace

failure_detector::failure_detector(settings s, time_point start) : settings_(s), last_(start), last_gap_end_(start) {}

void failure_detector::heard(time_point when) {
  last_ = std::max(last_, when);
  const auto gap = seconds(when - last_gap_end_);
  const auto beat = seconds(settings_.beat);
  if (gap < beat / 2)
    return;
  last_gap_end_ = when;
  // one long silence must not make the detector patient for good
  const auto counted = std::min(gap, beat + seconds(settings_.pause));
  if (count_ == most_gaps) {
    sum_ -= gaps_[next_];
    squares_ -= gaps_[next_] * gaps_[next_];
  } else {
    ++count_;
  }
  gaps_[next_] = counted;
  next_ = (next_ + 1) % most_gaps;
  sum_ += counted;
  squares_ += counted * counted;
}

double failure_detector::phi(time_point now) const {
  const auto n = static_cast<double>(count_);
  const auto beat = seconds(settings_.beat);
  const auto mean = std::max(beat, count_ == 0 ? beat : sum_ / n);
  const auto variance = count_ == 0 ? 0 : squares_ / n - (sum_ / n) * (sum_ / n);
  const auto deviation = std::max(seconds(settings_.least_deviation), std::sqrt(std::max(0.0, variance)));
  const auto y = (seconds(now - last_) - mean - seconds(settings_.pause)) / deviation;
  // log10 of the upper tail of the normal distribution
  const auto tail = 0.5 * std::erfc(y / std::sqrt(2.0));
  return tail > 0 ? -std::log10(tail) : 400;
}

} // namespace troupe
