#include "troupe/actors/channel_asking.hpp"

#include "troupe/actors/waiter.hpp"

namespace troupe::detail {

std::uint64_t channel_link::ask(ask_op op, std::uint8_t flags, const std::shared_ptr<future_state>& waiting, bool now,
                                const std::function<void(writer&)>& arguments) const {
  borrowed_builder f{home->actors()};
  home->begin(*f, id(), type, op, flags);
  if (arguments)
    arguments(f->out());
  return home->ask(id().where, *f, waiting, now);
}

std::uint64_t channel_link::number(ask_op op) const {
  auto waiting = std::make_shared<reference_answer_state>();
  ask(op, 0, waiting, true);
  return waiting->number();
}

void channel_link::give_back(std::uint64_t take, std::uint64_t place, std::uint8_t flags,
                             const std::function<void(writer&)>& elements) const {
  ask(ask_op::give_back, flags, nullptr, false, [&](writer& out) {
    out.put(take);
    out.put(place);
    elements(out);
  });
}

void channel_link::settle(std::uint64_t lease, std::uint64_t used, bool ends) const {
  ask(ask_op::settle, 0, nullptr, false, [&](writer& out) {
    out.put(lease);
    out.put(used);
    out.put(std::uint8_t{ends});
  });
}

void wait_within(const std::shared_ptr<future_state>& state, const call_options& options, const ref_id& about, const char* what,
                 const char* kind) {
  if (!options.deadline && !options.token) {
    state->wait();
    return;
  }
  std::vector<std::shared_ptr<future_state>> any{state};
  if (options.token)
    any.push_back(options.token->state());
  std::optional<future_state::time_point> limit;
  if (options.deadline)
    limit = moment_after(*options.deadline);
  const auto failed = [&](error_kind how, const char* text) {
    throw_error(make_error_info(how, std::string{what} + " on " + kind + ' ' + to_string(about) + text, about.where));
  };
  while (!state->ready()) {
    const bool in_time = wait_for_any(any, limit);
    if (state->ready())
      return;
    if (options.token && options.token->cancelled())
      failed(error_kind::cancelled, " was cancelled");
    if (!in_time)
      failed(error_kind::deadline_exceeded, " took longer than its deadline");
  }
}

void taking_many::orphaned(encoded* x) {
  if (op_ == ask_op::lease)
    return channel().settle(number(), 0, true);
  channel().give_back(number(), place_, 0, [&](writer& out) {
    if (x == nullptr)
      return out.put(std::uint32_t{0});
    for (auto& r : x->value.references)
      out.carry(r);
    out.raw(x->value.bytes.data(), x->value.bytes.size());
  });
}

bool channel_question::done() {
  throw_if_failed();
  reader in{payload().value.bytes};
  return in.get<std::uint64_t>() != 0;
}

void throw_empty_channel() { throw usage_error{"an empty channel: it was moved from, or never made by remote_channel<T>::on"}; }

} // namespace troupe::detail
