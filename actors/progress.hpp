#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace troupe {

/// @addtogroup loops
/// @{

/// What progress looks like.
enum class progress_style : std::uint8_t {
  automatic, ///< a line on a terminal, a log elsewhere
  line,      ///< one line that is redrawn in place
  log,       ///< plain lines, one after the other
  off,       ///< nothing
};

/// How progress is shown. What the environment says in TROUPE_PROGRESS (auto, line, log or off), wins over `style`, unless it is empty.
struct progress_options {
  /// What it looks like, unless the environment says.
  progress_style style = progress_style::automatic;
  /// Stays open as long as the object that shows progress.
  std::FILE* out = stderr;
  /// Between two lines of a log, and before the first.
  std::chrono::milliseconds log_interval{5000};
};

/// Shows how far work is: how much is done, how fast it goes, how long it will take, how much has failed. On a terminal, a line that is
/// redrawn 10 times a second at most, above which appears what workers print; several at once share it. In a log, a line every 5 s, and
/// nothing at all for what takes less than 0.5 s. The last line, which stays, tells how long all has taken, or how far it came, if the
/// object is destroyed before all is done.
///
///     progress bar{"cells", n};
///     for (…) bar.advance();
///
/// Any thread; whoever advances it when a line is due writes it, and the others don't wait for that.
class progress {
public:
  /// A number of things, 0 or more: any integer. Throws usage_error for others.
  class count {
  public:
    /// So many. Throws usage_error if it is negative.
    template <std::integral N>
    count(N n) : n_(checked(static_cast<std::int64_t>(n))) {}
    /// How many.
    std::int64_t number() const { return n_; }

  private:
    static std::int64_t checked(std::int64_t n);
    std::int64_t n_;
  };

  /// `label` says what they are, as "cells"; `total`, how many; 0: nobody knows. Throws usage_error for what TROUPE_PROGRESS can't be.
  progress(std::string_view label, count total, const progress_options& options = {});

  /// Writes the last line, if that hasn't been written when all were done.
  ~progress();
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// So many more are done. Takes 25 to 60 ns if nothing is to be written, more when several threads do so at once.
  void advance(count k = 1);

  /// So many more are done, and have failed.
  void fail(count k = 1);

private:
  struct state;
  std::unique_ptr<state> state_;
};

namespace detail {

struct progress_figures {
  std::int64_t done = 0;
  /// 0: unknown.
  std::int64_t total = 0;
  std::int64_t failed = 0;
  double seconds = 0;
  /// Nothing comes any more.
  bool ended = false;
};

/// "cells  50 %  50 of 100  5.0/s  10 s left  2 failed". With `columns`, it takes no more than these, and has a bar if there is room for
/// one.
std::string progress_text(std::string_view label, const progress_figures& f, int columns = 0);

} // namespace detail

/// @}

} // namespace troupe
