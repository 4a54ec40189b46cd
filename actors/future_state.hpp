#pragma once

#include "troupe/actors/kept_value.hpp"
#include "troupe/actors/moment_after.hpp"
#include "troupe/actors/references.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/proc_id.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace troupe {

class waiter;

namespace detail {

/// What ends when a future_state is ready, see hold_until_ready. Its destructor must neither block nor throw, and may run in any thread.
class until_ready {
public:
  until_ready() = default;
  virtual ~until_ready() = default;
  until_ready(const until_ready&) = delete;
  until_ready& operator=(const until_ready&) = delete;
};

/// What the copies of a future on one process, and the reply that it waits for, share: empty, then once and for ever a value in encoded form, or an error. In between it
/// may be known that there is a value elsewhere, which can be brought here.
///
/// Any thread. Locking: `mutex_` guards everything; waiters are notified, and the process's references looked up, under it.
class future_state : public std::enable_shared_from_this<future_state> {
public:
  using time_point = std::chrono::steady_clock::time_point;

  future_state();
  virtual ~future_state();
  future_state(const future_state&) = delete;
  future_state& operator=(const future_state&) = delete;

  // -- the result -----------------------------------------------------------------------------------------------------------

  /// Returns false, and changes nothing, if it has been set before.
  bool set_value(frame_view encoded);
  bool set_kept(kept_value encoded);
  bool set_error(error_info why);
  /// There is a value, or an error, where the future lives; or the answer is that there's nothing.
  bool set_elsewhere();

  /// Whether there is a value or an error, here or elsewhere. Doesn't block.
  bool ready() const { return outcome_.load(std::memory_order_acquire) != outcome::none; }

  /// Whether there is one here.
  bool here() const { return outcome_.load(std::memory_order_acquire) > outcome::elsewhere; }

  /// Blocks until it is ready, or until the limit; tells which. Throws `interrupted`, and usage_error where blocking is not allowed.
  bool wait(std::optional<time_point> limit = std::nullopt);

  /// Blocks until value or error are here. Throws as `wait` does.
  void bring();

  /// Has `f` called once value or error are here, in any thread; it must neither block nor throw. Has them brought here, if there's a reference.
  void when_here(std::function<void()> f);

  /// Throws the error, if that is what it holds. Needs `ready`.
  void throw_if_failed();

  /// The error, if that is what it holds here; else null.
  const error_info* failure() const;

  /// The call that it waits for, so that it can be cancelled. Before others know the state.
  void belongs_to(proc_id to, std::uint64_t number, std::string (*label)() = nullptr) { call_ = {to, number, label}; }

  struct call {
    proc_id to = 0;
    /// 0: there's none.
    std::uint64_t number = 0;
    /// Names the function; null if it isn't known.
    std::string (*label)() = nullptr;
  };
  const call& open_call() const { return call_; }

  /// Keeps something until it is ready: what would end the wait otherwise. Once.
  void keep_until_ready(std::shared_ptr<void> what);

  /// Keeps something that ends just before anybody can see that it is ready, here or elsewhere; at the latest with the state. Once, before others know the state.
  void hold_until_ready(std::unique_ptr<until_ready> what);

  /// Where the values that are about to be set were taken from, see reference_answer.
  virtual void taken_from(std::uint64_t) {}

  /// Reads the beginning of a value, so that the reader may find a landing in it.
  virtual void seek_landing(reader&) const {}

  // -- the reference ----------------------------------------------------------------------------------------------------------

  /// It has this id, and is known to its owner by the call that brings its result. Before it is shared.
  void set_call(std::shared_ptr<references> home, const ref_id& id);

  /// The call was never sent: its owner counts nothing.
  void never_sent();

  /// It stands for what is held. Before it is shared.
  void set_reference(std::shared_ptr<references> home, held_reference_ptr what);

  /// Its id: a result of this process's own gets one now.
  ref_id id();

  /// The part of this process in it, to be handed on.
  held_reference_ptr held();

  /// Whether what there is to know is here and has been looked at: the future needs its owner no more.
  bool settled();
  void settle();
  /// The same, with its mutex, which is given up.
  void settle(std::unique_lock<std::mutex> lock);

  /// It holds what the owner of this id has, and needs it no more. Before it is shared.
  void set_known(std::shared_ptr<references> home, const ref_id& id);

  /// Asks its owner. Returns what waits for the answer.
  std::shared_ptr<class reference_answer_state> ask(ask_op op, bool now, const std::function<void(writer&)>& arguments = {});

  /// Whether it is ready, as far as is known here or, if nothing is, at its owner. May block.
  bool ask_ready();

  /// Sets it where it lives, and blocks until that is done, then here. Throws already_set.
  void set_at_owner(ask_op op, const std::function<void(writer&)>& value, const std::function<bool()>& set_here);

  /// Ends it with `cancelled` if it isn't ready. For one that no call brings, see cancel_call.
  virtual void cancel();

  /// Which type it holds, as a number; 0: unknown.
  virtual std::uint64_t type() const { return 0; }

  /// Appends the value that is here.
  virtual void encode(writer&) {}

  // -- sharing ------------------------------------------------------------------------------------------------------------------

  /// Futures that share it. The last one that goes gives up the process's part in it, and takes back what has been asked.
  void share() { shares_.fetch_add(1, std::memory_order_relaxed); }
  void unshare() {
    if (shares_.fetch_sub(1) == 1 && watchers_.load() == 0)
      dropped();
  }

  /// Somebody waits for its end without a future of it: until `unwatch`, it is as if there were one, but one who has the last may move the value out.
  void watch() { watchers_.fetch_add(1); }
  void unwatch() {
    if (watchers_.fetch_sub(1) == 1 && shares_.load() == 0)
      dropped();
  }
  /// Unless nobody shares it any more. Needs references' mutex.
  bool share_again();
  bool shared_once() const { return shares_.load(std::memory_order_acquire) == 1; }

protected:
  /// The encoded value, as it has come.
  struct encoded {
    kept_value value;
    std::unique_ptr<landing> landed;
  };

  /// Of one that was abandoned the answer has come: a value, or null for anything else. Called once.
  virtual void orphaned(encoded*) {}
  /// Whether `orphaned` gives back what has come, or tells that there is nothing.
  virtual bool gives_back() const { return false; }
  /// A thread is about to block for it. May throw.
  virtual void about_to_wait() {}
  virtual void dropped();

  /// As if this error had come. Returns false if there was one before, or a value.
  bool end_with(error_info why);

  /// As if the value had come: it is here, in another form than encoded. Returns false if there was one before.
  bool complete_here(const std::function<void()>& keep);

  std::mutex& mutex() { return mutex_; }

  /// Whether others may know its id.
  bool published();

  /// Needs `here` and no error. The bytes stay until they are replaced.
  encoded& payload() { return value_; }

  /// Takes back the question that this one waits for. What comes all the same is told to `orphaned`; so is a value that has come and hasn't been looked at, unless it
  /// is to be kept.
  void abandon(references& home, const ref_id& about, std::uint64_t number, bool keeps_what_came = false);

private:
  friend bool wait_for_any(const std::vector<std::shared_ptr<future_state>>&, std::optional<time_point>);

  enum class outcome : std::uint8_t { none, elsewhere, value, error };
  enum class question : std::uint8_t { none, wait, fetch };

  using callbacks = std::vector<std::function<void()>>;

  // What few of them have. Most are results of calls, of which there are many at once, and no part of them is in the cache when the next step of theirs
  // comes: what is smaller is faster.
  struct rest {
    std::vector<waiter*> waiters;
    callbacks todo; // when value or error are here
    std::shared_ptr<void> kept;
    held_reference_ptr held;
    std::uint64_t asked_number = 0;
  };
  rest& more();
  void remove_waiter(waiter& w);

  callbacks complete(outcome o);
  void about_to_be_ready();
  bool set(encoded value);
  bool wait_until(outcome least, std::optional<time_point> limit);
  void request(ask_op op, bool now);
  std::uint64_t send(ask_op op, std::shared_ptr<future_state> waiting, bool now, const std::function<void(writer&)>& arguments);
  bool counted_or_held();
  void register_here();
  void publish();
  void hand_over(const held_reference_ptr& held);

  std::mutex mutex_;
  std::atomic<outcome> outcome_{outcome::none};
  question asked_ = question::none;
  bool abandoned_ = false;
  bool withdrawn_ = false; // abandoned, or about to be
  bool counted_ = false; // at the owner, by the call: given up when this ends, unless what is held takes it over
  bool asks_ = false; // its result comes only when it is asked for
  bool registered_ = false; // its id leads to it
  std::atomic<bool> settled_{false};
  std::atomic<int> shares_{0};
  std::atomic<int> watchers_{0}; // with shares_ sequentially consistent: of two who end the last of each, one at least sees both gone
  encoded value_;
  std::unique_ptr<error_info> error_;
  std::shared_ptr<references> home_;
  ref_id id_;
  call call_;
  std::atomic<until_ready*> until_ready_{nullptr}; // owned
  std::unique_ptr<rest> rest_;
};

/// What waits for the answer to a question about a reference.
class reference_answer_state : public future_state {
public:
  /// Block until it is there, and throw the error that it may be.
  void confirm();
  std::uint64_t number();
  /// The answer, to be read with the process's codec.
  reader content(actor_codec* actors);
  /// What it refers to.
  std::span<const held_reference_ptr> references() { return payload().value.references; }
};

/// Ends a call that hasn't been answered: the state gets the error `cancelled`, and the call's process is told. Doesn't block; does nothing if
/// the state is ready.
void cancel_call(future_state& state);

/// Blocks until one of them is ready, or until the limit; tells whether one is. Throws `interrupted`, and usage_error where blocking is not allowed.
bool wait_for_any(const std::vector<std::shared_ptr<future_state>>& states, std::optional<future_state::time_point> limit = std::nullopt);

} // namespace detail

} // namespace troupe
