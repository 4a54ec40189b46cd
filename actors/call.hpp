#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/proc_id.hpp"

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
  /// Nobody waits: an exception is printed there.
  call_no_reply = 2,
  /// Runs on a thread that is there for such calls alone, one after the other, without a turn: it may take long, and tasks go on meanwhile.
  call_apart = 4,
  /// The result stays there for whoever holds the caller's future. A small one is sent to the caller as well.
  call_kept = 16,
};

/// A call on its way out: made, encoded and sent by the calling thread.
class outgoing_call {
public:
  /// Throws unknown_process or process_exited if there's no such process, usage_error outside of app::run.
  /// `label` names the function in errors.
  outgoing_call(proc_id to, std::uint64_t task, std::uint8_t flags, std::string (*label)());
  /// The id of a call whose result is kept.
  const ref_id& id() const {
    return id_;
  }
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

  /// Sends it. `waiting` gets the answer; null for none. `now`: the caller is about to wait; throws usage_error, and sends
  /// nothing, where that is not allowed.
  void send(std::shared_ptr<future_state> waiting, bool now);

private:
  writer& out();
  [[noreturn]] void throw_not_serializable(const std::exception& e);

  proc_id to_;
  ref_id id_;
  std::uint8_t flags_;
  std::string (*label_)();
  std::optional<borrowed_builder> frame_;
};

} // namespace troupe::detail
