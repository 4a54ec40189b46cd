#pragma once

#include "troupe/transport/proc_id.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// Brings what ranks of the master's own MPI job write to the master; else it is their launcher that shows it. A rank's keeper hands the lines back to the rank, which
/// calls the master with them; the next ones follow when that has returned.
///
/// One at a time, on the master. Any thread.
class rank_output {
public:
  /// `on_line` gets the lines, in tasks; it may block.
  explicit rank_output(std::function<void(proc_id, std::string_view)> on_line);
  ~rank_output();
  rank_output(const rank_output&) = delete;
  rank_output& operator=(const rank_output&) = delete;

  /// What these ranks write from now on. Blocks until they know, no longer than 5 s.
  void begin(const std::vector<proc_id>& ranks);

  /// Blocks until what these have written is here, no longer than 5 s. What they write later is shown by their launcher again.
  void end(const std::vector<proc_id>& ranks);

  /// On a rank, before it leaves: what can't be handed over any more is shown.
  static void leave();

private:
  static void forward_here();
  static void stop_here();
  static void take(proc_id from, const std::vector<std::string>& lines);

  const std::function<void(proc_id, std::string_view)> on_line_;
};

} // namespace troupe
