#pragma once

#include <cstddef>
#include <iterator>

namespace system_test {

/// 0, 1, … as a range that can be walked once, and tells how far it was.
class walked_numbers {
public:
  class iterator {
  public:
    using value_type = int;
    using difference_type = std::ptrdiff_t;

    explicit iterator(walked_numbers* of = nullptr) : of_(of) {}
    int operator*() const { return of_->at_; }
    iterator& operator++() {
      ++of_->at_;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) { return i.at_end(); }
    bool at_end() const { return of_->at_ >= of_->end_; }

  private:
    walked_numbers* of_;
  };

  explicit walked_numbers(int end) : end_(end) {}
  iterator begin() { return iterator{this}; }
  static std::default_sentinel_t end() { return {}; }
  int drawn() const { return at_; }

private:
  int at_ = 0;
  int end_;
};

} // namespace system_test
