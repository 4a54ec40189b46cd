#include "troupe/actors/worker_pool.hpp"

#include "troupe/actors/owned_pool.hpp"
#include "troupe/actors/pool_store.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/type_tag.hpp"
#include "troupe/transport/log.hpp"

#include <cstdio>
#include <map>

namespace troupe {

namespace detail {

namespace {

constexpr auto kind = "pool";

/// What waits for a pool's answer.
class pool_question final : public reference_answer_state {
public:
  pool_question(channel_link pool, ask_op op) : pool_(std::move(pool)), op_(op) {}

  void send(bool now, const std::function<void(writer&)>& arguments = {}) {
    number_ = pool_.ask(op_, 0, shared_from_this(), now, arguments);
  }

  void give_up() {
    if (runtime::find() != nullptr)
      abandon(*pool_.home, pool_.id(), number_);
  }

  /// Needs `here`. Nobody gives the member back any more.
  proc_id taken() {
    throw_if_failed();
    const auto out = static_cast<proc_id>(number());
    settle();
    return out;
  }

protected:
  // a member that came when nobody waited for it any more
  void orphaned(encoded* x) override {
    if (op_ != ask_op::pool_take || x == nullptr)
      return;
    reader in{x->value.bytes};
    const auto id = static_cast<proc_id>(in.get<std::uint64_t>());
    pool_.ask(ask_op::pool_put, 0, nullptr, false, [=](writer& out) { out.put(id); });
  }

private:
  const channel_link pool_;
  const ask_op op_;
  std::uint64_t number_ = 0;
};

// Takes the question back when the last who is interested goes.
worker_pool::answer_ptr ask_until_dropped(const channel_link& pool, ask_op op, const std::function<void(writer&)>& arguments) {
  struct asking {
    std::shared_ptr<pool_question> q;
    ~asking() { q->give_up(); }
  };
  auto q = std::make_shared<pool_question>(pool, op);
  q->send(false, arguments);
  auto all = std::make_shared<asking>();
  all->q = q;
  return {all, q.get()};
}

std::optional<error_info> how_gone(proc_id id) { return runtime::get().net().gone(id); }

// Why a process can't be a member. Only the master knows which there never were.
std::optional<error_info> why_no_member(proc_id id) {
  auto& rt = runtime::get();
  if (rt.id() == master_id && id != master_id && !rt.net().knows(id))
    return make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(id) + " in this cluster", id);
  if (auto why = how_gone(id))
    return why;
  auto why = rt.net().barred(id);
  return why && why->kind == error_kind::process_exited ? why : std::nullopt; // it gets no new work
}

void check_slots(int slots) {
  if (slots < 1 || slots > most_pool_slots)
    throw usage_error{"a member of a pool has from 1 to " + std::to_string(most_pool_slots) + " slots, not " + std::to_string(slots)};
}

} // namespace

} // namespace detail

// -- making one ---------------------------------------------------------------------------------------------------------------------

detail::channel_link worker_pool::made() {
  detail::channel_link out;
  out.home = detail::references_of_process();
  out.held = out.home->hold(out.home->next(out.home->id()), references::origin::known);
  out.type = detail::type_tag<worker_pool>();
  return out;
}

worker_pool worker_pool::standing_for(proc_id in_place) {
  const auto link = made();
  runtime::get().owned().add(std::make_unique<owned_pool>(link.id(), owned_pool::settings{link.type, detail::why_no_member, in_place}),
                             link.id().where);
  worker_pool out;
  out.handle_ = std::make_shared<const handle>(handle{link, nullptr});
  return out;
}

worker_pool::worker_pool(const std::vector<proc_id>& ids, int slots) {
  detail::check_slots(slots);
  std::map<proc_id, int> times;
  for (auto id : ids) {
    if (!detail::how_gone(id))
      detail::check_process(id);
    ++times[id];
  }
  std::vector<pool_member> members;
  for (auto id : ids) // in the order in which they are to be taken
    if (const auto node = times.extract(id))
      members.push_back(
        {id, static_cast<std::int32_t>(std::min<std::int64_t>(std::int64_t{slots} * node.mapped(), detail::most_pool_slots)), 0});
  *this = standing_for(0);
  push(detail::pool_push::join, members);
}

worker_pool::worker_pool(std::shared_ptr<abstract_pool> pool) {
  if (!pool)
    throw usage_error{"a pool was to be made of a null pointer to an abstract_pool"};
  const auto link = made();
  add_store(std::make_shared<detail::pool_store>(link.id(), link.type, std::move(pool), detail::why_no_member), link.id(), link.id().where);
  handle_ = std::make_shared<const handle>(handle{link, nullptr});
}

worker_pool::worker_pool(held_reference_ptr held)
  : handle_(std::make_shared<const handle>(
      handle{{detail::references_of_process(), std::move(held), detail::type_tag<worker_pool>()}, nullptr})) {}

const detail::channel_link& worker_pool::link() const {
  if (!handle_)
    throw usage_error{"an empty pool: it was moved from, or never made by worker_pool{c, ids}"};
  return handle_->link;
}

const std::shared_ptr<void>& worker_pool::attachment() const {
  static_cast<void>(link());
  return handle_->attachment;
}

void worker_pool::attach(std::shared_ptr<void> what) { handle_ = std::make_shared<const handle>(handle{link(), std::move(what)}); }

// -- using it -----------------------------------------------------------------------------------------------------------------------

proc_id worker_pool::take(const call_options& options) const {
  const auto waiting = std::make_shared<detail::pool_question>(link(), ask_op::pool_take);
  waiting->send(true);
  detail::wait_or_give_up(waiting, options, id(), "take", detail::kind);
  return waiting->taken();
}

// One that its process doesn't know yet to have gone leaves the pool when it does: it isn't given back.
proc_id worker_pool::take_alive(const call_options& options, std::chrono::steady_clock::time_point since) const {
  auto left = options;
  while (true) {
    if (options.deadline)
      left.deadline = *options.deadline - (std::chrono::steady_clock::now() - since);
    const auto id = take(left);
    if (!detail::how_gone(id))
      return id;
  }
}

void worker_pool::wait(const call_options& options) const {
  const auto waiting = std::make_shared<detail::pool_question>(link(), ask_op::pool_wait);
  waiting->send(true);
  detail::wait_or_give_up(waiting, options, id(), "wait", detail::kind);
  waiting->throw_if_failed();
}

void worker_pool::put(proc_id id) const {
  const auto waiting = std::make_shared<detail::pool_question>(link(), ask_op::pool_put);
  waiting->send(true, [=](writer& out) { out.put(id); });
  waiting->confirm();
}

void worker_pool::push(proc_id id, int slots) const {
  detail::check_slots(slots);
  detail::check_process(id);
  push(detail::pool_push::add, {{id, slots, 0}});
}

void worker_pool::push(detail::pool_push how, const std::vector<pool_member>& members) const {
  const auto waiting = std::make_shared<detail::pool_question>(link(), ask_op::pool_push);
  waiting->send(true, [&](writer& out) {
    out.put(how);
    write(out, members);
  });
  waiting->confirm();
}

void worker_pool::join(const std::vector<proc_id>& ids) const {
  std::vector<pool_member> members;
  for (auto id : ids)
    members.push_back({id, 1, 0});
  link().ask(ask_op::pool_push, 0, nullptr, false, [&](writer& out) {
    out.put(detail::pool_push::join);
    write(out, members);
  });
}

void worker_pool::give_back(proc_id id) const noexcept {
  try {
    if (runtime::find() != nullptr)
      link().ask(ask_op::pool_put, 0, nullptr, false, [=](writer& out) { out.put(id); });
  } catch (const std::exception& e) {
    log(log_level::warning, "worker " + std::to_string(id) + " can't be given back to its pool: " + e.what());
  }
}

detail::pool_status worker_pool::status() const {
  const auto waiting = std::make_shared<detail::pool_question>(link(), ask_op::pool_status);
  waiting->send(true);
  auto in = waiting->content(nullptr);
  return read<detail::pool_status>(in);
}

worker_pool::answer_ptr worker_pool::ask_view(std::uint64_t known) const {
  return detail::ask_until_dropped(link(), ask_op::pool_view, [=](writer& out) { out.put(known); });
}

pool_view worker_pool::view_of(detail::reference_answer_state& answer) {
  auto in = answer.content(nullptr);
  return read<pool_view>(in);
}

worker_pool::answer_ptr worker_pool::ask_take() const { return detail::ask_until_dropped(link(), ask_op::pool_take, {}); }

proc_id worker_pool::taken_of(detail::reference_answer_state& answer) {
  answer.confirm();
  return static_cast<detail::pool_question&>(answer).taken();
}

// -- sending it ---------------------------------------------------------------------------------------------------------------------

void codec<worker_pool>::write(writer& w, const worker_pool& x) {
  w.put(std::uint8_t{x.valid()});
  if (x.valid())
    w.refer(x.link().held);
}

void codec<worker_pool>::read(reader& r, worker_pool& x) {
  x = {};
  if (r.get<std::uint8_t>() != 0)
    x = worker_pool{r.referred()};
}

} // namespace troupe
