#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace command {

enum class mark {
  ok,
  warning, ///< works, or is needed for a part only
  missing, ///< programs need it
};

/// What was looked at, in a line.
struct finding {
  mark how = mark::ok;
  std::string subject;
  std::string text;
  /// What to do; empty if nothing is wrong.
  std::string remedy{};
};

using findings = std::vector<finding>;

/// Whether what is written there may have colours: a terminal, and the variable NO_COLOR is not set.
bool may_colour(std::FILE* out);

/// Writes findings as they come, and counts them.
class report {
public:
  /// `out` must live as long as the report. Subjects are given so many columns.
  report(std::FILE* out, bool coloured, int subject_width = 13) : out_(out), coloured_(coloured), subject_width_(subject_width) {}

  void heading(const std::string& text);
  void add(const findings& all);
  int warnings() const { return warnings_; }
  int missing() const { return missing_; }

private:
  void add(const finding& f);

  std::FILE* out_;
  bool coloured_;
  int subject_width_;
  int warnings_ = 0;
  int missing_ = 0;
};

/// A text from elsewhere, without what would have an effect on a terminal; ends of lines stay.
std::string printable(std::string text);

/// "3.2 GB", "64.0 MB": powers of 1024, as memory is sold.
std::string in_bytes(double bytes);
/// "0.4 ms", "2.10 s", "38 us"
std::string in_time(double seconds);

} // namespace command
