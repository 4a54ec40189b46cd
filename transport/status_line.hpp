#pragma once

#include <cstdio>
#include <functional>
#include <list>
#include <string>
#include <string_view>

namespace troupe {

/// A text that changes in place at the end of what a terminal shows; what others print while it is there goes above it, if they print through `print` or under
/// `hidden`. Several on one terminal share its last line. Any thread; only one text is drawn at a time, without a wait for whoever writes.
class status_line {
public:
  /// The text for so many columns, of one line, without control characters. It must neither block nor throw, and may be called by any thread that prints.
  using text_function = std::function<std::string(int columns)>;

  /// Shows nothing yet. `out` is a terminal that understands ECMA-48, and must stay open.
  status_line(std::FILE* out, text_function text);

  /// Takes it away.
  ~status_line();
  status_line(const status_line&) = delete;
  status_line& operator=(const status_line&) = delete;

  /// Shows the text as it is now; skipped while somebody prints or draws.
  void draw();

  /// Writes the text once more, as a line that stays, and is no part of the status line any more.
  void leave();

  /// Writes `text`, which ends with the end of a line, in one piece, and flushes. Returns false, with errno set, if that fails.
  static bool print(std::FILE* out, std::string_view text);

  /// The process ends at once: ends the line that is shown, so that the shell's prompt gets its own.
  static void abandon();

  /// How many columns of a terminal a text takes, which is UTF-8.
  static int width_of(std::string_view text);
  /// As much of its beginning as fits.
  static std::string fitting(std::string_view text, int columns);

  /// While it lives, the terminal can be written to: all that was drawn is gone, and it comes back afterwards. Drawing does nothing meanwhile.
  class hidden {
  public:
    hidden();
    ~hidden();
    hidden(const hidden&) = delete;
    hidden& operator=(const hidden&) = delete;
  };

private:
  struct terminals;
  static terminals& all();
  void end(bool stays);

  std::FILE* const out_;
  const text_function text_;
  std::list<status_line*>::iterator place_;
  bool shown_ = false; // has been drawn since it was made
};

} // namespace troupe
