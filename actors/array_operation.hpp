#pragma once

#include "troupe/actors/array_info.hpp"
#include "troupe/actors/call_options.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/future_state.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/frame.hpp"

#include <caf/error.hpp>
#include <caf/fwd.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/message.hpp>
#include <caf/monitorable_actor.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

class array_part;
class runtime;

/// What an operation wants of the elements of an array.
enum class array_ask : std::uint8_t {
  /// That they get the message.
  tell = 0,
  /// That they have handled it.
  handle = 1,
  /// An answer of each, in order.
  collect = 2,
  /// Their answers, combined.
  reduce = 3,
  /// That they end.
  end = 4,
};

/// A message to all elements of an array on its way down a tree of processes, and the answers on their way up: one for each process that has a part in it. The frame is handed on as it came, by who reads it; the message is decoded
/// once, and the elements share it. It is the sender of that message: what they answer comes to it, in the threads where they run. What fails first, here or below, or is lost of what is asked, is answered at once; nobody waits for the
/// others then, and they are told.
///
/// Any thread. Locking: `mutex_` guards the answers.
class array_operation final : public caf::monitorable_actor {
public:
  /// What a frame of kind `array` says.
  struct request {
    std::uint64_t question = 0; // of who sent it; 0: no answer is wanted
    std::uint64_t array = 0;
    array_ask ask = array_ask::tell;
    bool hosts = false; // its receiver has elements
    bool flat = false; // its receiver, who sent it, asks all others itself
    std::uint64_t fold = 0;
    std::uint32_t before = 0; // how many of the others come before the receiver in the array's order
    std::vector<proc_id> others; // whom it is to be handed on to
    std::span<const std::byte> rest; // what folds the answers, and the message

    /// Of a frame from one process to another, whose payload must outlive what is returned. Throws codec_error.
    static request read(std::span<const std::byte> payload, proc_id from, proc_id to);
  };

  /// A frame has come: hands it on, and has the elements here get the message. On the loop's thread, or that of a caller on this process. Throws codec_error for one that can't be read, and `interrupted` to a
  /// caller that nobody answers.
  static void arrive(runtime& rt, proc_id from, frame_view& f);

  array_operation(caf::actor_config& cfg, runtime& rt, proc_id from, const request& r, std::vector<held_reference_ptr> references);

  /// Whose elements it is for.
  std::uint64_t array() const { return array_; }
  proc_id asked_by() const { return from_; }
  /// The number of the question that it answers, of who asked.
  std::uint64_t question() const { return question_; }

  /// An element has ended: if it hasn't answered, it won't.
  void element_ended(std::size_t own, const caf::error& reason);

  /// A process is lost, whether that has to do with it or not.
  void peer_lost(proc_id id, const error_info& why);

  /// Nobody waits for it any more.
  void abandon();

  // caf::abstract_actor
  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override;
  const char* name() const override { return "troupe.array_operation"; }

private:
  using pointer = caf::intrusive_ptr<caf::actor_control_block>;
  using answer_state = detail::reference_answer_state;
  struct arrived;

  pointer self();
  void run(const std::shared_ptr<arrived>& what);
  void hand_on(std::span<const proc_id> to, const arrived& what, std::shared_ptr<answer_state> waiting,
               const std::shared_ptr<detail::future_state>& unless);
  void deliver(const arrived& what);
  void deliver(const caf::message& message, const std::shared_ptr<credit>& paid);
  caf::message decode(const arrived& what) const;
  void element_failed(std::size_t own, const caf::error& why);
  void fail(const error_info& why);
  void one_is_done();
  void finish();
  void fold();
  void write_collected(writer& out, const std::function<void(writer&)>& own) const;
  void close();
  error_info no_such_array() const;

  runtime& runtime_;
  const proc_id from_;
  const std::uint64_t question_;
  const std::uint64_t array_;
  const array_ask ask_;
  const std::uint64_t fold_;
  const std::vector<std::byte> folds_with_;
  const std::vector<held_reference_ptr> references_;
  const std::vector<proc_id> others_;
  std::shared_ptr<array_part> part_; // null if there are no elements here
  std::vector<std::vector<proc_id>> branches_;
  std::size_t before_ = 0; // how many branches come before the elements here
  std::vector<std::shared_ptr<answer_state>> below_; // of the branches; written before it is known to others
  std::atomic<std::size_t> left_{0}; // branches, and the elements here, that aren't done
  std::atomic<bool> over_{false};
  std::mutex mutex_;
  std::size_t waiting_ = 0; // elements here that haven't answered
  std::vector<bool> answered_;
  std::vector<caf::message> answers_; // if they are wanted
};

namespace detail {

/// What a function that folds has to go by: the answers of the elements here, and what came from below.
struct fold_input {
  const array_info& info;
  const array_positions& positions;
  std::vector<caf::message>& own;
  /// Of reductions: encoded values of what comes before the elements here, and behind them.
  std::vector<reader> before;
  std::vector<reader> behind;

  /// Of the thread that folds.
  static fold_input& current();
};

[[noreturn]] void throw_answer_mismatch(const fold_input& in, std::size_t own, const std::string& expected);

/// Begins an operation on all elements; `waiting`, null for none, gets the answer or the error. `write_fold` writes what the function of number `fold` folds with. Throws process_exited, not_connected, not_serializable, usage_error.
void begin_array_operation(const array_info& info, array_ask ask, const call_options* options, std::shared_ptr<future_state> waiting,
                           std::uint64_t fold, const std::function<void(writer&)>& write_fold, const caf::message& message);

/// Throws usage_error where blocking isn't allowed, and would_block in a handler of one of the array's elements: it would wait for itself.
void check_may_wait_for(std::uint64_t array, const char* what);

/// Of a step's future.
class step_state final : public typed_future_state<void> {
public:
  explicit step_state(std::uint64_t array) : array_(array) {}

private:
  void about_to_wait() override { check_may_wait_for(array_, "to wait for a step"); }

  const std::uint64_t array_;
};

/// What a collecting operation has brought: each process's part in encoded form. Throws not_decodable unless there is one of each.
struct collected_part {
  proc_id from;
  reader content;
};
std::vector<collected_part> collected_parts(const array_info& info, reference_answer_state& answer);

} // namespace detail

} // namespace troupe
