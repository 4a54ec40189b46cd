#pragma once

#include <cstddef>
#include <vector>

namespace bench {

/// Measurements of one thing. All but `add` and `size` throw std::logic_error while there are none. Not
/// thread-safe.
class samples {
public:
  void add(double x);
  std::size_t size() const;

  /// The value below which `percent` of the samples lie, 0 to 100; between two samples in proportion, so
  /// that 50 is the median. Throws std::invalid_argument outside of 0 to 100.
  double percentile(double percent) const;
  double median() const;
  double min() const;
  double max() const;

private:
  void sort() const;

  mutable std::vector<double> all_;
  mutable bool sorted_ = true;
};

} // namespace bench
