#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace troupe {

/// What a host keeper and its master say to each other, see docs/protocol.md: text, one message in a line.

/// Of these lines.
inline constexpr int keeper_version = 1;

/// The longest order, in bytes without the line's end.
inline constexpr std::size_t max_order = 1 << 20;

/// The longest line of a worker that goes into one line of a keeper's; what is longer goes in pieces.
inline constexpr std::size_t max_said = 65'000;

// -- orders, to the keeper ------------------------------------------------------------------------------------------------------

/// The cluster's cookie: each worker that is started from now on gets it as the first line of its standard input.
struct keeper_cookie {
  std::string cookie;
};

/// Start a worker. Its number is given by the master.
struct keeper_start {
  int index = 0;
  std::string program;
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;
};

/// All workers have been ordered.
struct keeper_complete {};

/// Send a signal to a worker's process, or to its group.
struct keeper_signal {
  int index = 0;
  int number = 0;
  bool group = false;
};

using keeper_order = std::variant<keeper_cookie, keeper_start, keeper_complete, keeper_signal>;

/// Without the line's end.
std::string to_line(const keeper_order& order);
/// Throws usage_error, which says what came and what was expected.
keeper_order parse_order(std::string_view line);

// -- news, to the master ----------------------------------------------------------------------------------------------------------

/// The first. From another version, nothing else is known.
struct keeper_hello {
  int version = keeper_version;
  /// Logical ones.
  int cpus = 0;
  std::int64_t os_pid = 0;
  std::string host;
  /// Numeric: where other hosts can reach this one.
  std::string address;
};

struct keeper_started {
  int index = 0;
  std::int64_t os_pid = 0;
};

struct keeper_not_started {
  int index = 0;
  std::string why;
};

/// A line that a worker has written; the view is the caller's.
struct keeper_said {
  int index = 0;
  bool is_stderr = false;
  std::string_view line;
};

struct keeper_ended {
  int index = 0;
  /// As exit_state has them.
  int status = -1;
  int signal = 0;
  bool core = false;
};

using keeper_news = std::variant<keeper_hello, keeper_started, keeper_not_started, keeper_said, keeper_ended>;

std::string to_line(const keeper_news& news);
/// Nothing if it is any other line, such as what a login shell says.
std::optional<keeper_news> parse_news(std::string_view line);
/// Where such a line may begin: somebody may have written something in front of it, without a line's end. npos: nowhere.
std::size_t find_news(std::string_view line);

} // namespace troupe
