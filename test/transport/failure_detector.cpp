#define BOOST_TEST_MODULE failure_detector
#include <boost/test/unit_test.hpp>

#include "troupe/transport/failure_detector.hpp"

#include <chrono>
#include <cmath>
#include <initializer_list>
#include <random>

using namespace std::chrono_literals;
using troupe::failure_detector;
using duration = failure_detector::duration;
using time_point = failure_detector::time_point;

namespace {

const time_point start = time_point{} + 1000h;

// A detector that has heard these gaps, and when it last heard something.
struct history {
  failure_detector detector;
  time_point last = start;

  explicit history(failure_detector::settings s = {}) : detector(s, start) {}

  void gap(duration d) {
    last += d;
    detector.heard(last);
  }

  void gaps(int n, duration d) {
    for (int i = 0; i < n; ++i)
      gap(d);
  }

  // How long it bears a silence from now on, to a millisecond.
  double patience() const {
    duration silence{};
    while (!detector.suspects(last + silence))
      silence += 1ms;
    return std::chrono::duration<double>(silence).count();
  }
};

// What y makes φ equal to 8 in the upper tail of the normal distribution: its probability is 1e-8.
constexpr double quantile = 5.6120;

} // namespace

BOOST_AUTO_TEST_CASE(who_beats_every_second_is_suspected_after_about_three_and_a_half) {
  for (int beats : {0, 1, 2, 10, 100, 1000}) {
    history h;
    h.gaps(beats, 1s);
    BOOST_TEST(h.patience() >= 3.4);
    BOOST_TEST(h.patience() <= 4.2);
    BOOST_TEST(std::abs(h.patience() - (1 + 2 + 0.1 * quantile)) <= 0.002); // mean, pause, least deviation
  }
}

BOOST_AUTO_TEST_CASE(a_little_jitter_changes_little) {
  std::mt19937 random{1};
  std::uniform_int_distribution<int> jitter{-100, 100};
  history h;
  for (int i = 0; i < 300; ++i) {
    h.gap(1s + std::chrono::milliseconds{jitter(random)});
    BOOST_REQUIRE(h.patience() >= 3.4);
    BOOST_REQUIRE(h.patience() <= 4.2);
  }
}

BOOST_AUTO_TEST_CASE(irregular_beats_make_it_patient) {
  history regular, irregular;
  regular.gaps(100, 1s);
  for (int i = 0; i < 50; ++i) {
    irregular.gap(600ms);
    irregular.gap(1400ms);
  }
  BOOST_TEST(irregular.patience() > regular.patience() + 1);
  BOOST_TEST(std::abs(irregular.patience() - (1 + 2 + 0.4 * quantile)) <= 0.002);
}

BOOST_AUTO_TEST_CASE(it_becomes_regular_again_with_its_peer) {
  history h;
  h.gaps(50, 600ms);
  h.gaps(50, 1400ms);
  BOOST_TEST(h.patience() > 5);
  h.gaps(100, 1s);
  BOOST_TEST(std::abs(h.patience() - (1 + 2 + 0.1 * quantile)) <= 0.002);
}

BOOST_AUTO_TEST_CASE(no_history_makes_it_patient_beyond_a_bound) {
  // Gaps count as from half a beat to a beat and a pause, [0.5, 3] s, whatever they were. With a mean of m, their deviation is at
  // most sqrt((3 - m)(m - 0.5)), and m + quantile * that is largest as 1.75 + 1.25 * sqrt(1 + quantile^2).
  const auto bound = 2 + 1.75 + 1.25 * std::sqrt(1 + quantile * quantile);
  BOOST_TEST(bound < 11);
  std::mt19937 random{2};
  double most = 0;
  for (int round = 0; round < 300; ++round) {
    history h;
    const auto share_of_long = round % 100;
    for (int i = 0; i < 100; ++i)
      h.gap(static_cast<int>(random() % 100) < share_of_long ? (round % 3 == 0 ? 3s : round % 3 == 1 ? 1h : 1000h) : 500ms);
    most = std::max(most, h.patience());
    BOOST_REQUIRE(h.patience() <= bound + 0.002);
  }
  BOOST_TEST(most > bound - 0.3); // it is no looser than that
}

BOOST_AUTO_TEST_CASE(one_long_silence_is_soon_forgotten) {
  history h;
  h.gaps(100, 1s);
  h.gap(1h);
  BOOST_TEST(h.patience() <= 4.5);
  h.gaps(100, 1s);
  BOOST_TEST(std::abs(h.patience() - (1 + 2 + 0.1 * quantile)) <= 0.002);
}

BOOST_AUTO_TEST_CASE(bursts_do_not_make_it_impatient) {
  history h;
  h.gaps(20, 1s);
  h.gaps(100000, 10us);
  BOOST_TEST(h.patience() >= 3.5);
  history often;
  often.gaps(10000, 10ms); // a busy link
  BOOST_TEST(often.patience() >= 3.5);
  BOOST_TEST(often.patience() <= 4.2);
  history fast;
  fast.gaps(1000, 510ms); // twice as often as it should be
  BOOST_TEST(fast.patience() >= 3.5);
}

BOOST_AUTO_TEST_CASE(a_silence_that_was_our_own_is_excused) {
  history h;
  h.gaps(50, 1s);
  const auto before = h.patience();
  const auto awake = h.last + 10min;
  BOOST_TEST(h.detector.suspects(awake));
  h.detector.excuse(awake);
  BOOST_TEST(!h.detector.suspects(awake));
  BOOST_TEST((h.detector.silence(awake + 2s) == 2s));
  h.last = awake;
  BOOST_TEST(h.patience() == before); // nor does it count as a gap
  h.gap(1s);
  BOOST_TEST(std::abs(h.patience() - before) <= 0.002);
}

BOOST_AUTO_TEST_CASE(suspicion_grows_with_silence) {
  for (int irregular : {0, 1}) {
    history h;
    for (int i = 0; i < 100; ++i)
      h.gap(1s + std::chrono::milliseconds{irregular * (i % 7) * 100});
    auto last = h.detector.phi(h.last - 1h);
    BOOST_TEST(last >= 0);
    BOOST_TEST(last < 0.01);
    for (duration silence{}; silence < 100s; silence += 20ms) {
      auto phi = h.detector.phi(h.last + silence);
      BOOST_REQUIRE(std::isfinite(phi));
      BOOST_REQUIRE(phi >= last);
      last = phi;
    }
    BOOST_TEST(last == 400);
  }
}

BOOST_AUTO_TEST_CASE(the_settings_are_kept_to) {
  const failure_detector::settings quick{.beat = 100ms, .pause = 50ms, .least_deviation = 10ms, .threshold = 3};
  history h{quick};
  h.gaps(100, 100ms);
  BOOST_TEST(std::abs(h.patience() - (0.1 + 0.05 + 0.01 * 3.0902)) <= 0.002); // 1e-3 in the upper tail
}

BOOST_AUTO_TEST_CASE(steps_of_the_clock_do_no_harm) {
  constexpr duration century = 24h * 36525;
  history h;
  h.gaps(50, 1s);
  const auto before = h.patience();
  h.detector.heard(h.last + century); // far into the future
  BOOST_TEST(std::isfinite(h.detector.phi(h.last)));
  BOOST_TEST(!h.detector.suspects(h.last)); // heard later than now: it lives
  h.detector.heard(h.last);                 // and back
  BOOST_TEST(!h.detector.suspects(h.last));
  h.detector.heard(h.last - century);
  BOOST_TEST(std::isfinite(h.detector.phi(h.last - century)));
  h.detector.excuse(h.last); // as its user does who sees that its clock has stepped
  h.gaps(100, 1s);
  BOOST_TEST(std::abs(h.patience() - before) <= 0.002);
  // a clock that goes back in small steps all the time
  for (int i = 0; i < 1000; ++i) {
    h.gap(1s);
    h.detector.heard(h.last - 300ms);
  }
  BOOST_TEST(std::abs(h.patience() - before) <= 0.002);
}
