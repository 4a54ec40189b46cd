#pragma once

#include "troupe/actors/call_options.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/lent_memory.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

/// How a channel's handle asks the channel.
namespace troupe::detail {

/// A channel as a process knows it. Copies mean the same.
struct channel_link {
  std::shared_ptr<references> home;
  held_reference_ptr held;
  std::uint64_t type = 0;

  const ref_id& id() const {
    return held->id();
  }

  /// Sends a question. Doesn't block. Returns its number.
  std::uint64_t ask(ask_op op, std::uint8_t flags, const std::shared_ptr<future_state>& waiting, bool now,
                    const std::function<void(writer&)>& arguments = {}) const;

  /// Asks for a number, and blocks until it is there.
  std::uint64_t number(ask_op op) const;

  /// Gives values back, as write_elements has written them: they are the first again.
  void give_back(std::uint8_t flags, const std::function<void(writer&)>& elements) const;

  /// Says that so many more values of a lease have been used, and gives back what is left if it ends.
  void settle(std::uint64_t lease, std::uint64_t used, bool ends) const;
};

/// Blocks until it is ready. Throws what `options` say, what the wait throws, and nothing that the state holds.
void wait_within(const std::shared_ptr<future_state>& state, const call_options& options, const ref_id& about, const char* what);

/// What waits for values of a channel. If the wait is given up, values that come all the same go back.
template <class T>
class taking final : public typed_future_state<T> {
public:
  /// `keys`: what stands in front of the values that go back.
  taking(channel_link channel, std::uint8_t flags, std::function<void(writer&)> keys)
    : channel_(std::move(channel)), flags_(flags), keys_(std::move(keys)) {
  }

  void send(ask_op op, bool now) {
    takes_ = op == ask_op::take;
    number_ = channel_.ask(op, flags_, this->shared_from_this(), now, keys_);
  }

  void give_up() {
    this->abandon(*channel_.home, channel_.id(), number_);
  }

  void cancel() override {
    this->abandon(*channel_.home, channel_.id(), number_, true);
    this->set_error(make_error_info(error_kind::cancelled, "taking a value of channel " + to_string(channel_.id()) + " was cancelled", channel_.id().where));
  }

protected:
  using encoded = typename typed_future_state<T>::encoded;

  void orphaned(encoded& x) override {
    if (!takes_)
      return;
    channel_.give_back(flags_ & ask_flags::keyed, [&](writer& out) {
      if (keys_)
        keys_(out);
      if (!x.landed) {
        out.put(std::uint32_t{1});
        return write_element(out, x.value);
      }
      // a part of it lies elsewhere: it is put together
      reader in{x.value.bytes, process_codec()};
      in.set_landed(x.landed.get());
      in.set_references(x.value.references);
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
};

/// The same for several values.
class taking_many final : public future_state {
public:
  explicit taking_many(channel_link channel) : channel_(std::move(channel)) {
  }

  void send(ask_op op, const std::function<void(writer&)>& arguments) {
    leases_ = op == ask_op::lease;
    number_ = channel_.ask(op, 0, shared_from_this(), true, arguments);
  }

  void give_up() {
    abandon(*channel_.home, channel_.id(), number_);
  }

  std::uint64_t question() const {
    return number_;
  }

  /// Needs `here`.
  template <class T, class Out>
  void decode(Out& out) {
    throw_if_failed();
    auto& all = payload().value;
    reader in{all.bytes};
    const auto n = in.get<std::uint32_t>();
    std::size_t reference = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
      const auto size = in.get<std::uint64_t>();
      const auto count = in.get<std::uint32_t>();
      reader element{in.take(static_cast<std::size_t>(size)), process_codec()};
      element.set_references(std::span{all.references}.subspan(reference, count));
      reference += count;
      out.push_back(read<T>(element));
      element.expect_end();
    }
    settle();
  }

protected:
  void orphaned(encoded& x) override;

private:
  const channel_link channel_;
  bool leases_ = false;
  std::uint64_t number_ = 0;
};

/// Gives up what is waited for if the wait ends by an exception.
template <class State>
class unless_waited {
public:
  explicit unless_waited(State& state) : state_(&state) {
  }
  ~unless_waited() {
    if (state_ != nullptr)
      state_->give_up();
  }
  unless_waited(const unless_waited&) = delete;
  unless_waited& operator=(const unless_waited&) = delete;
  void waited() {
    state_ = nullptr;
  }

private:
  State* state_;
};

/// What waits until a value is put.
class putting final : public future_state {
public:
  explicit putting(channel_link channel) : channel_(std::move(channel)) {
  }
  void send(ask_op op, std::uint8_t flags, const std::function<void(writer&)>& arguments) {
    number_ = channel_.ask(op, flags, shared_from_this(), true, arguments);
  }
  void give_up() {
    abandon(*channel_.home, channel_.id(), number_);
  }
  /// Whether a put that was to be done at once was.
  bool done();

private:
  const channel_link channel_;
  std::uint64_t number_ = 0;
};

[[noreturn]] void throw_empty_channel();

} // namespace troupe::detail
