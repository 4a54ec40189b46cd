#pragma once

#include "troupe/actors/call_options.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/lent_memory.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

/// How the handle of a channel, or of a pool, asks where that lives.
namespace troupe::detail {

/// A channel or pool as a process knows it. Copies mean the same.
struct channel_link {
  std::shared_ptr<references> home;
  held_reference_ptr held;
  std::uint64_t type = 0;

  const ref_id& id() const { return held->id(); }

  /// Sends a question. Doesn't block. Returns its number.
  std::uint64_t ask(ask_op op, std::uint8_t flags, const std::shared_ptr<future_state>& waiting, bool now,
                    const std::function<void(writer&)>& arguments = {}) const;

  /// Asks for a number, and blocks until it is there.
  std::uint64_t number(ask_op op) const;

  /// Gives back what `take`, the number of a question, brought from a place, as write_elements has written it.
  void give_back(std::uint64_t take, std::uint64_t place, std::uint8_t flags, const std::function<void(writer&)>& elements) const;

  /// Says that so many more values of a lease have been used, and gives back what is left if it ends.
  void settle(std::uint64_t lease, std::uint64_t used, bool ends) const;
};

/// Blocks until it is ready. Throws what `options` say, what the wait throws, and nothing that the state holds. `what` was asked of what `about` names.
void wait_within(const std::shared_ptr<future_state>& state, const call_options& options, const ref_id& about, const char* what,
                 const char* kind = "channel");

/// The same; gives up what is waited for if the wait ends by an exception.
template <class State>
void wait_or_give_up(const std::shared_ptr<State>& state, const call_options& options, const ref_id& about, const char* what,
                     const char* kind = "channel") {
  try {
    wait_within(state, options, about, what, kind);
  } catch (...) {
    state->give_up();
    throw;
  }
}

/// What waits for a channel's answer.
class channel_question : public future_state {
public:
  explicit channel_question(channel_link channel) : channel_(std::move(channel)) {}

  void send(ask_op op, std::uint8_t flags, const std::function<void(writer&)>& arguments) {
    number_ = channel_.ask(op, flags, shared_from_this(), true, arguments);
  }

  void give_up() { abandon(*channel_.home, channel_.id(), number_); }

  std::uint64_t number() const { return number_; }

  /// Whether what was to be done at once was. Needs `here`.
  bool done();

protected:
  const channel_link& channel() const { return channel_; }

private:
  const channel_link channel_;
  std::uint64_t number_ = 0;
};

/// What waits for values of a channel. If the wait is given up, values that come all the same go back.
template <class T>
class taking final : public typed_future_state<T> {
public:
  /// `keys`: what stands in front of the values that go back.
  taking(channel_link channel, std::uint8_t flags, std::function<void(writer&)> keys)
    : channel_(std::move(channel)), flags_(flags), keys_(std::move(keys)) {}

  void send(ask_op op, bool now) {
    takes_ = op == ask_op::take;
    number_ = channel_.ask(op, flags_, this->shared_from_this(), now, keys_);
  }

  void give_up() { this->abandon(*channel_.home, channel_.id(), number_); }

  void taken_from(std::uint64_t place) override { place_ = place; }

  void cancel() override {
    this->abandon(*channel_.home, channel_.id(), number_, true);
    this->end_with(make_error_info(error_kind::cancelled, "taking a value of channel " + to_string(channel_.id()) + " was cancelled",
                                   channel_.id().where));
  }

protected:
  using encoded = typename typed_future_state<T>::encoded;

  bool gives_back() const override { return takes_; }

  void orphaned(encoded* x) override {
    if (!takes_)
      return;
    channel_.give_back(number_, place_, flags_ & ask_flags::keyed, [&](writer& out) {
      if (keys_)
        keys_(out);
      if (x == nullptr)
        return out.put(std::uint32_t{0});
      if (!x->landed) {
        out.put(std::uint32_t{1});
        return write_element(out, x->value);
      }
      // a part of it lies elsewhere: it is put together
      reader in{x->value.bytes, process_codec()};
      in.set_landed(x->landed.get());
      in.set_references(x->value.references);
      const auto value = read<T>(in);
      write_elements(out, 1, [&](writer& w, std::size_t) { write(w, value); });
    });
  }

  void dropped() override {
    if (!this->published()) // else others wait for it
      give_up();
    future_state::dropped();
  }

private:
  const channel_link channel_;
  const std::uint8_t flags_;
  const std::function<void(writer&)> keys_;
  bool takes_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t place_ = 0; // before the value is set
};

/// The same for several values, which may be leased.
class taking_many final : public channel_question {
public:
  taking_many(channel_link channel, ask_op op) : channel_question(std::move(channel)), op_(op) {}

  void send(const std::function<void(writer&)>& arguments) { channel_question::send(op_, 0, arguments); }

  void taken_from(std::uint64_t place) override { place_ = place; }

  /// Needs `here`.
  template <class T, class Out>
  void decode(Out& out) {
    throw_if_failed();
    auto& all = payload().value;
    reader in{all.bytes};
    for (auto& x : split_elements(in, all.references)) {
      reader element{x.bytes, process_codec()};
      element.set_references(x.references);
      out.push_back(read<T>(element));
      element.expect_end();
    }
    settle();
  }

protected:
  bool gives_back() const override { return true; }
  void orphaned(encoded* x) override;

private:
  const ask_op op_;
  std::uint64_t place_ = 0; // before the values are set
};

[[noreturn]] void throw_empty_channel();

} // namespace troupe::detail
