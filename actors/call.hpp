#pragma once

#include "troupe/actors/call_limits.hpp"
#include "troupe/actors/future_state.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/proc_id.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>

namespace troupe::detail {

/// How a call is to be treated where it arrives. Bits of one byte on the wire.
enum call_flags : std::uint8_t {
  /// Runs where it is received, without a turn.
  call_direct = 1,
  /// Nobody waits: an exception is printed there. A call that has a number is answered with nothing, when it is over.
  call_no_reply = 2,
  /// Runs on a thread that is there for such calls alone, one after the other, without a turn: it may take long, and tasks go on meanwhile.
  call_apart = 4,
  /// Its caller may stop it (frame kind `cancel`).
  call_stoppable = 8,
  /// The result stays there for whoever holds the caller's future. A small one is sent to the caller as well.
  call_kept = 16,
};

/// A call on its way out: made, encoded and sent by the calling thread.
class outgoing_call {
public:
  /// Throws unknown_process or process_exited if there's no such process, usage_error outside of app::run.
  /// `label` names the function in errors. The time of `options` runs from `since`, or now, on; null for none.
  outgoing_call(proc_id to, std::uint64_t task, std::uint8_t flags, std::string (*label)(), const call_options* options = nullptr,
                std::optional<std::chrono::steady_clock::time_point> since = std::nullopt);
  /// The id of a call whose result is kept.
  const ref_id& id() const { return id_; }
  ~outgoing_call();
  outgoing_call(const outgoing_call&) = delete;
  outgoing_call& operator=(const outgoing_call&) = delete;

  /// Has `write` append function and arguments to a writer. Throws not_serializable; then nothing has been sent.
  template <class Write>
  void encode(Write write) {
    try {
      write(out());
    } catch (const std::exception& e) {
      throw_not_serializable(e);
    }
  }

  /// How large the frame is so far, in bytes.
  std::size_t size();

  /// Sends it. `waiting` gets the answer, or the error when a limit of the options has been reached, perhaps before it was sent; null for none,
  /// if there are no options. `now`: the caller is about to wait; throws usage_error, and sends nothing, where that is not allowed.
  void send(std::shared_ptr<future_state> waiting, bool now);

  /// Sends a call without an answer that has options. Throws deadline_exceeded or `cancelled` if that was so before it was sent.
  void send_unheard();

private:
  writer& out();
  [[noreturn]] void throw_not_serializable(const std::exception& e);

  proc_id to_;
  ref_id id_;
  std::uint8_t flags_;
  std::string (*label_)();
  std::optional<call_limits> limits_;
  std::optional<borrowed_builder> frame_;
};

} // namespace troupe::detail
