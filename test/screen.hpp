#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace test {

/// What a terminal shows for the bytes it gets, as far as they are ours: text, \r, \n, and the erasing of the rest of a line.
class screen {
public:
  explicit screen(std::size_t columns) : columns_(columns) {}

  void take(std::string_view bytes) {
    for (char c : bytes)
      take(c);
  }

  const std::vector<std::string>& shown() const { return lines_; }
  /// What stood in a line when it was drawn anew.
  const std::vector<std::string>& before() const { return before_; }
  /// How often a line was begun anew.
  int redrawn() const { return redrawn_; }
  bool wrapped() const { return wrapped_; }
  bool strange() const { return strange_; }
  std::size_t column() const { return column_; }

private:
  void take(char c) {
    if (!escape_.empty()) {
      escape_ += c;
      if (escape_ == "\033[K") {
        lines_.back().resize(std::min(lines_.back().size(), column_));
        escape_.clear();
      } else if (escape_.size() == 3) {
        strange_ = true;
        escape_.clear();
      }
    } else if (c == '\033') {
      escape_ = c;
    } else if (c == '\r') {
      before_.push_back(lines_.back());
      column_ = 0;
    } else if (c == '\n') {
      lines_.emplace_back();
    } else {
      if (column_ == 0)
        ++redrawn_;
      if (column_ == columns_) {
        wrapped_ = true;
        lines_.emplace_back();
        column_ = 0;
      }
      auto& line = lines_.back();
      if (line.size() <= column_)
        line.resize(column_ + 1, ' ');
      line[column_++] = c;
    }
  }

  const std::size_t columns_;
  std::vector<std::string> lines_{""};
  std::vector<std::string> before_;
  std::size_t column_ = 0;
  std::string escape_;
  int redrawn_ = 0;
  bool wrapped_ = false;
  bool strange_ = false;
};

} // namespace test
