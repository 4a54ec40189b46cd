#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// Why somebody who dialled this process wasn't let in.
enum class refusal_reason : std::uint8_t {
  junk,       ///< what came is no preamble
  version,    ///< another protocol version
  byte_order, ///< a machine of another byte order
  cookie,     ///< a proof of another cookie, or none
  reflected,  ///< our own nonce came back
  left,       ///< hung up before it was through
  slow,       ///< its time was over
  crowd,      ///< too many others were waiting
  unwelcome,  ///< knows the cookie, but has no business here or sent a bad hello
  trouble,    ///< this process couldn't attend to it
};

/// "sent junk", "hung up early", …
std::string_view to_string(refusal_reason);

/// One who wasn't let in.
struct refusal {
  refusal_reason reason = refusal_reason::junk;
  /// Of the host, without the port.
  std::string address;
  /// The whole story, for the log: "127.0.0.1:4242: the peer sent junk: …". Nothing of the cookie, and of the peer's bytes
  /// only hexadecimal digits until it has proved that it knows the cookie.
  std::string text;
};

/// Turns refusals into lines for people, however many strangers knock: the first few have a line each, those that follow
/// are counted, and told in one line at the end of each interval, by reason and by address. After an interval in which
/// nobody had to be counted, single lines are written again. Keeps no more than a few kilobytes. Has no clock of its own.
/// Not thread-safe.
class refusal_log {
public:
  using clock = std::chrono::steady_clock;

  struct settings {
    /// Lines of single refusals in an interval.
    int lines = 5;
    clock::duration interval = std::chrono::seconds{10};
  };

  refusal_log() : refusal_log(settings{}) {}
  explicit refusal_log(settings s) : settings_(s) {}

  /// What is to be written at once: at most one line for this refusal.
  std::optional<std::string> add(const refusal& r, clock::time_point now);

  /// When `take` will have something to tell; nothing while none is counted.
  std::optional<clock::time_point> due() const;

  /// What was counted, in one line, whether it is due or not; nothing if there was none.
  std::optional<std::string> take(clock::time_point now);

private:
  void begin_interval(clock::time_point now);
  std::string addresses() const;

  settings settings_;
  clock::time_point interval_end_{};
  bool running_ = false; // an interval
  int lines_ = 0;        // written in this interval
  std::size_t counted_ = 0;
  std::map<refusal_reason, std::size_t> by_reason_;
  std::map<std::string, std::size_t> by_address_;
  std::size_t of_other_addresses_ = 0;
};

} // namespace troupe
