#include "epidemic/binomial.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace epidemic {

namespace {

/// log(k!) minus Stirling's formula for it, (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2.
double stirling_tail(double k) {
  static constexpr double small[] = {0.08106146679532726,  0.04134069595540929, 0.02767792568499834, 0.02079067210376509,
                                     0.01664469118982119,  0.01387612882307075, 0.01189670994589177, 0.01041126526197209,
                                     0.009255462182712733, 0.008330563433362871};
  if (k < 10)
    return small[static_cast<int>(k)];
  const double x = 1 / (k + 1);
  return (1.0 / 12 - (1.0 / 360 - x * x / 1260) * x * x) * x;
}

/// Inversion by adding up the distribution from 0: a number of steps around n p. For p <= 1/2 and n p < 10.
std::int64_t by_inversion(random_stream& random, std::int64_t n, double p) {
  const double odds = p / (1 - p);
  const double none = std::exp(static_cast<double>(n) * std::log1p(-p));
  // Nothing as improbable as more than `most` successes (below 1e-60) can come from 52 random bits: getting
  // there means that rounding left a crumb of `u`.
  const std::int64_t most = std::min<std::int64_t>(n, 120);
  for (;;) {
    double u = random.uniform();
    double probability = none;
    for (std::int64_t k = 0; k <= most; ++k) {
      if (u <= probability)
        return k;
      u -= probability;
      probability *= odds * static_cast<double>(n - k) / static_cast<double>(k + 1);
    }
  }
}

/// BTRS, transformed rejection with squeeze: W. Hörmann, "The generation of binomial random variates",
/// Journal of Statistical Computation and Simulation 46 (1993) 101-110. For p <= 1/2 and n p >= 10; takes
/// some 1.2 to 1.4 pairs of random numbers whatever n is.
std::int64_t by_rejection(random_stream& random, std::int64_t trials, double p) {
  const double n = static_cast<double>(trials);
  const double deviation = std::sqrt(n * p * (1 - p));
  const double b = 1.15 + 2.53 * deviation;
  const double a = -0.0873 + 0.0248 * b + 0.01 * p;
  const double centre = n * p + 0.5;
  const double squeeze = 0.92 - 4.2 / b;
  const double alpha = (2.83 + 5.1 / b) * deviation;
  const double odds = p / (1 - p);
  const double mode = std::floor((n + 1) * p);
  for (;;) {
    const double u = random.uniform() - 0.5;
    const double v = random.uniform();
    const double us = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / us + b) * u + centre);
    if (k < 0 || k > n)
      continue;
    if (us >= 0.07 && v <= squeeze)
      return static_cast<std::int64_t>(k);
    // The logarithm of the ratio of the probabilities of k and of the mode.
    const double ratio = (mode + 0.5) * std::log((mode + 1) / (odds * (n - mode + 1))) + (n + 1) * std::log((n - mode + 1) / (n - k + 1))
                         + (k + 0.5) * std::log(odds * (n - k + 1) / (k + 1)) + stirling_tail(mode) + stirling_tail(n - mode)
                         - stirling_tail(k) - stirling_tail(n - k);
    if (std::log(v * alpha / (a / (us * us) + b)) <= ratio)
      return static_cast<std::int64_t>(k);
  }
}

} // namespace

std::int64_t binomial(random_stream& random, std::int64_t n, double p) {
  if (n < 0)
    throw std::invalid_argument("binomial: n is " + std::to_string(n) + ", expected 0 or more");
  if (!(p >= 0 && p <= 1))
    throw std::invalid_argument("binomial: p is " + std::to_string(p) + ", expected a probability");
  if (n == 0 || p == 0)
    return 0;
  if (p > 0.5)
    return n - binomial(random, n, 1 - p);
  return static_cast<double>(n) * p < 10 ? by_inversion(random, n, p) : by_rejection(random, n, p);
}

} // namespace epidemic
