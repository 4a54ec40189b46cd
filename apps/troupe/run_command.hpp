#pragma once

#include "troupe/managers/child_process.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace command {

/// What became of a program that was run.
struct command_end {
  /// How it ended by itself; nothing if it could not be started, or was ended because its time was over.
  std::optional<troupe::exit_state> state;
  /// Why it could not be started.
  std::string not_started;
  std::string out;
  std::string err;
  std::chrono::milliseconds took{0};

  bool good() const { return state && state->status == 0; }
  bool too_slow() const { return !state && not_started.empty(); }
  /// Goes on after its name: "exited with status 1: the first line of stderr".
  std::string to_text() const;
};

/// Called with each line of stdout, in time and in order; what is returned goes to the program's stdin. Nothing: its stdin is closed.
using line_answer = std::function<std::optional<std::string>(std::string_view line)>;

/// Runs a program with `input` as its stdin, and ends it, with its process group, when `limit` is over: SIGTERM, half a second later SIGKILL. Of what it writes to each
/// stream, a megabyte is kept. Without `answer`, its stdin ends with `input`.
command_end run_command(const troupe::child_options& what, std::chrono::milliseconds limit, const std::string& input = {},
                        const line_answer& answer = nullptr);

/// The same, in this process's environment without what a launcher of MPI jobs has put there.
command_end run_command(const std::string& program, std::vector<std::string> args, std::chrono::milliseconds limit,
                        const std::string& input = {});

/// From now on, SIGINT, SIGTERM and SIGHUP end what runs as well as this process.
void end_commands_on_signals();

/// The file that this name stands for in PATH, with all links followed; empty if there's none.
std::string find_program(const std::string& name);

/// The first line of a text, without its end.
std::string first_line(std::string_view text);

} // namespace command
