#pragma once

#include <array>
#include <chrono>
#include <cstddef>

namespace troupe {

/// Tells from the times at which a peer was heard how unlikely it is that it is still there: the φ accrual failure
/// detector (Hayashibara, Défago, Yared, Katayama: The φ Accrual Failure Detector, SRDS 2004). The longest silence that is
/// accepted without any suspicion is added to the mean as Akka and Pekko do.
///
/// Not thread-safe. Times come from its user, and needn't be the machine's.
class failure_detector {
public:
  using duration = std::chrono::steady_clock::duration;
  using time_point = std::chrono::steady_clock::time_point;

  struct settings {
    /// How often a living peer is heard at least, as it has been told.
    duration beat = std::chrono::seconds{1};
    /// A silence of this length on top of the usual gaps means nothing.
    duration pause = std::chrono::seconds{2};
    /// Gaps vary by no less than this, as far as the detector is concerned.
    duration least_deviation = std::chrono::milliseconds{100};
    /// φ = -log10 of the probability that the peer lives: 8 is one in a hundred million.
    double threshold = 8;
  };

  explicit failure_detector(settings s, time_point start);

  /// Something came from the peer at this time. Only gaps of at least half a beat count as such: more often is not less alive.
  void heard(time_point when);

  /// -log10 of the probability that a silence until `now` comes from a living peer.
  double phi(time_point now) const;

  bool suspects(time_point now) const { return phi(now) >= settings_.threshold; }

  duration silence(time_point now) const { return now - last_; }

  /// Forgets the present silence: it was our own.
  void excuse(time_point now) {
    last_ = now;
    last_gap_end_ = now;
  }

private:
  static constexpr std::size_t most_gaps = 100;

  settings settings_;
  time_point last_;
  time_point last_gap_end_;
  std::array<double, most_gaps> gaps_{}; // seconds, a ring
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  double sum_ = 0;
  double squares_ = 0;
};

} // namespace troupe
