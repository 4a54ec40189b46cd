#include "troupe/actors/owned_pool.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

namespace {

// Of so many members that have gone, an error says how.
constexpr std::size_t most_told = 8;
// So many of them can be replaced.
constexpr std::size_t most_replaceable = 1024;

} // namespace

void owned_pool::ask(reference_question& q, reference_work& out) {
  check_type(q, settings_.type);
  switch (q.op) {
    case ask_op::pool_take:
    case ask_op::pool_wait:
      q.in->expect_end();
      waiting_.push_back(q.to_be_kept());
      return serve(out);
    case ask_op::pool_put:
      return ask_put(q, out);
    case ask_op::pool_push:
      return ask_push(q, out);
    case ask_op::pool_status: {
      q.in->expect_end();
      auto a = answer_to(q, reference_answer::kind::value);
      a.value = detail::encode_kept(status());
      return out.answers.push_back(std::move(a));
    }
    case ask_op::pool_view: {
      const auto known = q.in->get<std::uint64_t>();
      q.in->expect_end();
      viewers_.push_back({q.to_be_kept(), known});
      return serve(out);
    }
    default:
      throw_wrong_op(q, "a pool of workers");
  }
}

// What isn't a member, or isn't out, is no matter.
void owned_pool::ask_put(reference_question& q, reference_work& out) {
  const auto id = q.in->get<proc_id>();
  q.in->expect_end();
  if (const auto m = members_.find(id); m != members_.end() && !m->second.takers.empty()) {
    auto& takers = m->second.takers;
    // one that the asker has taken, if there is one: who has it may have handed it on
    const auto own = std::find(takers.begin(), takers.end(), q.from);
    give_back(id, m->second, own == takers.end() ? 0 : static_cast<std::size_t>(own - takers.begin()));
  }
  serve(out);
  answer_nothing(out, q);
}

void owned_pool::ask_push(reference_question& q, reference_work& out) {
  const auto how = q.in->get<detail::pool_push>();
  const auto list = read<std::vector<pool_member>>(*q.in);
  q.in->expect_end();
  for (auto& m : list)
    if (m.id <= 0 || m.slots < 1 || m.slots > detail::most_pool_slots)
      throw codec_error{"member " + std::to_string(m.id) + " with " + std::to_string(m.slots) + " slots, for pool " + to_string(id())};
  if (how == detail::pool_push::add)
    for (auto& m : list) {
      if (const auto why = settings_.gone(m.id))
        throw_error(*why);
      if (const auto i = members_.find(m.id); i != members_.end() && i->second.slots > detail::most_pool_slots - m.slots)
        throw usage_error{"worker " + std::to_string(m.id) + " has " + std::to_string(i->second.slots) + " slots in pool " + to_string(id())
                          + ", and " + std::to_string(m.slots) + " more would be more than " + std::to_string(detail::most_pool_slots)};
    }
  for (auto& m : list) {
    if (how == detail::pool_push::join) {
      if (members_.contains(m.id))
        continue;
      if (const auto why = settings_.gone(m.id)) {
        note_gone(m.id, *why);
        continue;
      }
    }
    add(m);
  }
  serve(out);
  answer_nothing(out, q);
}

void owned_pool::add(const pool_member& m) {
  auto& x = members_[m.id];
  if (!x.idle())
    idle_.push_back(m.id);
  x.slots = std::min(x.slots + m.slots, detail::most_pool_slots);
  ++version_;
}

void owned_pool::note_gone(proc_id id, const error_info& why) {
  const auto how = "worker " + std::to_string(id) + ' ' + (why.cause.to_text().empty() ? "is gone" : why.cause.to_text());
  if (ended_.size() < most_told)
    how_ended_ += (how_ended_.empty() ? "" : ", ") + how;
  else if (ended_.size() == most_told)
    how_ended_ += ", and others";
  else
    return;
  ended_.push_back(id);
}

// Who waits gets what there is, and who looks at the pool what has changed.
void owned_pool::serve(reference_work& out) {
  while (!waiting_.empty() && serve(waiting_.front(), out))
    waiting_.pop_front();
  std::erase_if(viewers_, [&](auto& v) {
    if (v.known == version_)
      return false;
    auto a = answer_to(v.q, reference_answer::kind::value);
    a.value = detail::encode_kept(view());
    out.answers.push_back(std::move(a));
    return true;
  });
}

// Returns whether it has been answered.
bool owned_pool::serve(const reference_question& q, reference_work& out) {
  const bool stands_in = members_.empty() && settings_.in_place != 0;
  if (members_.empty() && !stands_in) {
    answer_error(out, q, no_member());
    return true;
  }
  if (idle_.empty() && !stands_in)
    return false;
  if (q.op == ask_op::pool_wait)
    answer_nothing(out, q);
  else
    answer_number(out, q, static_cast<std::uint64_t>(stands_in ? settings_.in_place : take(q.from)));
  return true;
}

proc_id owned_pool::take(proc_id by) {
  const auto id = idle_.front();
  idle_.pop_front();
  auto& m = members_.at(id);
  m.takers.push_back(by);
  if (m.idle())
    idle_.push_back(id);
  else
    ++version_;
  return id;
}

void owned_pool::give_back(proc_id id, member& m, std::size_t taker) {
  if (!m.idle()) {
    idle_.push_back(id);
    ++version_;
  }
  m.takers.erase(m.takers.begin() + static_cast<std::ptrdiff_t>(taker));
}

detail::pool_status owned_pool::status() const {
  detail::pool_status out;
  out.size = members_.size();
  for (auto& [id, m] : members_) {
    out.members.push_back(id);
    if (m.idle())
      out.idle.push_back(id);
  }
  if (members_.empty() && settings_.in_place != 0)
    out.members = out.idle = {settings_.in_place};
  out.ready = !out.idle.empty();
  return out;
}

pool_view owned_pool::view() const {
  pool_view out;
  out.version = version_;
  for (auto& [id, m] : members_)
    out.members.push_back({id, m.slots, static_cast<std::int32_t>(m.takers.size())});
  if (members_.empty() && settings_.in_place != 0)
    out.members.push_back({settings_.in_place, 1, 0});
  return out;
}

error_info owned_pool::no_member() const {
  auto text = "pool " + to_string(id()) + " has no live member";
  text += ended_.empty() ? ": none has been given to it" : ": " + how_ended_;
  auto out = make_error_info(error_kind::no_workers, text + "; add some with push, or make a pool of c.workers()", id().where);
  out.pids = ended_;
  return out;
}

bool owned_pool::withdraw(proc_id from, std::uint64_t number, reference_work&) {
  const auto n = waiting_.size() + viewers_.size();
  waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), [&](auto& q) { return q.from == from && q.number == number; }),
                 waiting_.end());
  std::erase_if(viewers_, [&](auto& v) { return v.q.from == from && v.q.number == number; });
  return waiting_.size() + viewers_.size() < n;
}

void owned_pool::forget(proc_id gone, const error_info& why, reference_work& out) {
  waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), [&](auto& q) { return q.from == gone; }), waiting_.end());
  std::erase_if(viewers_, [&](auto& v) { return v.q.from == gone; });
  remove(gone, why);
  for (auto& [id, m] : members_)
    for (std::size_t i = m.takers.size(); i-- > 0;)
      if (m.takers[i] == gone)
        give_back(id, m, i);
  serve(out);
}

void owned_pool::remove(proc_id id, const error_info& why) {
  const auto found = members_.find(id);
  if (found == members_.end())
    return;
  slots_of_gone_[id] = found->second.slots;
  if (slots_of_gone_.size() > most_replaceable)
    slots_of_gone_.erase(slots_of_gone_.begin());
  members_.erase(found);
  std::erase(idle_, id);
  ++version_;
  note_gone(id, why);
}

void owned_pool::retire(proc_id id, const error_info& why, reference_work& out) {
  remove(id, why);
  serve(out);
}

void owned_pool::replace(proc_id lost, proc_id by, reference_work& out) {
  const auto slots = slots_of_gone_.extract(lost);
  if (!slots || members_.contains(by))
    return;
  add({by, slots.mapped(), 0});
  serve(out);
}

void owned_pool::end(const reason& why, reference_work& out) {
  for (auto& q : std::exchange(waiting_, {}))
    answer_error(out, q, why());
  for (auto& v : std::exchange(viewers_, {}))
    answer_error(out, v.q, why());
}

} // namespace troupe
