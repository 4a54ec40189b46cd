#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace epidemic {

/// One line of text about how far a run is: days done, rate and time left. With a `width`, it is shorter than
/// that, and has a bar if there is room for one.
std::string progress_text(std::uint32_t done, std::uint32_t days, double seconds, int width = 0);

/// Shows how far a run is: a bar that moves in place on a terminal, a line about every tenth elsewhere. One
/// thread.
class progress_display {
public:
  /// `out` must stay open; whether it is a terminal is asked once.
  progress_display(std::uint32_t days, std::FILE* out);

  /// Leaves what was shown on a line of its own, so that an error can follow.
  ~progress_display();

  progress_display(const progress_display&) = delete;
  progress_display& operator=(const progress_display&) = delete;

  /// `done` days of all are over.
  void show(std::uint32_t done);

private:
  using clock = std::chrono::steady_clock;

  void draw(std::uint32_t done, clock::time_point now);

  std::uint32_t days_;
  std::FILE* out_;
  bool terminal_;
  clock::time_point start_ = clock::now();
  clock::time_point drawn_{};
  std::uint32_t tenths_ = 0; // lines written
  bool open_ = false;        // the cursor stands in a line of ours
};

} // namespace epidemic
