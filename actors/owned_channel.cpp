#include "troupe/actors/owned_channel.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

namespace {

using kind = reference_answer::kind;

} // namespace

void owned_channel::ask(reference_question& q, reference_work& out) {
  check_type(q, type_);
  if ((q.flags & ask_flags::keyed) != 0)
    throw_wrong_op(q, "a channel without keys");
  switch (q.op) {
    case ask_op::wait:
    case ask_op::fetch:
    case ask_op::take:
      return ask_for_values(q, 1, out);
    case ask_op::take_many:
    case ask_op::lease:
      return ask_for_values(q, q.in->get<std::uint64_t>(), out);
    case ask_op::put:
      return ask_put(q, out);
    case ask_op::settle:
      return ask_settle(q, out);
    case ask_op::give_back: {
      const auto take = q.in->get<std::uint64_t>();
      const auto place = q.in->get<std::uint64_t>();
      auto values = read_elements(*q.in, *q.frame);
      if (place == 0 || place > last_place_ || values.size() > last_place_ - place + 1)
        if (!values.empty())
          throw codec_error{std::to_string(values.size()) + " values given back to place " + std::to_string(place) + " of "
                            + std::to_string(last_place_)};
      for (std::uint64_t i = 0; i < values.size(); ++i)
        put_back({place + i, std::move(values[i])});
      return come_back(q.from, take, out);
    }
    case ask_op::isready:
      return answer_number(out, q, available() ? 1 : 0);
    case ask_op::isopen:
      return answer_number(out, q, closed_ ? 0 : 1);
    case ask_op::size:
      return answer_number(out, q, values_.size());
    case ask_op::close:
      return ask_close(q, out);
    default:
      throw_wrong_op(q, "a channel");
  }
}

void owned_channel::ask_for_values(reference_question& q, std::uint64_t most, reference_work& out) {
  takers_.push_back({q.to_be_kept(), most});
  pump(out);
  // still there: nothing came
  if (q.at_once() && coming_back_.empty() && !takers_.empty() && takers_.back().q.number == q.number && takers_.back().q.from == q.from) {
    takers_.pop_back();
    answer_nothing(out, q);
  }
}

void owned_channel::ask_put(reference_question& q, reference_work& out) {
  auto values = read_elements(*q.in, *q.frame);
  if (closed_)
    return answer_error(out, q, *closed_);
  if (values.empty())
    return answer_nothing(out, q);
  if (q.at_once()) {
    // all of them or none: with a capacity of 0, only into the hands of those who wait
    const auto hands = !coming_back_.empty() ? 0 : static_cast<std::uint64_t>(std::count_if(takers_.begin(), takers_.end(), [](auto& t) {
      return t.q.op != ask_op::wait && t.q.op != ask_op::fetch;
    }));
    const bool fits = capacity_ == 0 ? putters_.empty() && values.size() <= hands
                                     : putters_.empty() && values_.size() + leased_ + values.size() <= capacity_;
    if (!fits)
      return answer_number(out, q, 0);
  }
  putters_.push_back({q.to_be_kept(), std::move(values)});
  pump(out);
}

void owned_channel::ask_settle(reference_question& q, reference_work& out) {
  const auto number = q.in->get<std::uint64_t>();
  const auto used = q.in->get<std::uint64_t>();
  const auto ends = q.in->get<std::uint8_t>() != 0;
  q.in->expect_end();
  const auto l = std::find_if(leases_.begin(), leases_.end(), [&](auto& x) { return x.who == q.from && x.number == number; });
  if (l == leases_.end())
    return ends ? come_back(q.from, number, out) : void();
  if (used > l->values.size() - l->used)
    throw codec_error{std::to_string(used) + " values of a lease of " + std::to_string(l->values.size())};
  for (std::uint64_t i = 0; i < used; ++i)
    out.garbage.push_back(std::move(l->values[l->used++].value));
  leased_ -= used;
  if (ends)
    return_lease(*l);
  if (l->used == l->values.size())
    leases_.erase(l);
  if (ends)
    come_back(q.from, number, out);
  else
    pump(out);
}

void owned_channel::ask_close(reference_question& q, reference_work& out) {
  close(read_reason(q), out);
  answer_nothing(out, q);
}

// Who waits to put has not put; who waits to take gets what is left.
void owned_channel::close(error_info why, reference_work& out) {
  if (closed_)
    return;
  closed_ = std::make_shared<const error_info>(std::move(why));
  for (auto& p : std::exchange(putters_, {})) {
    answer_error(out, p.q, *closed_);
    out.drop(p.values);
  }
  pump(out);
}

bool owned_channel::available() const { return !values_.empty() || (capacity_ == 0 && !putters_.empty()); }

bool owned_channel::full() const { return values_.size() + leased_ >= capacity_; }

// Takes from putters what there is room for.
void owned_channel::accept(reference_work& out) {
  while (!putters_.empty() && !full())
    values_.push_back(next_put(out));
}

// The next value of the putter whose turn it is, which is answered with its last.
owned_channel::placed owned_channel::next_put(reference_work& out) {
  auto& p = putters_.front();
  placed v{++last_place_, std::move(p.values[p.next++])};
  if (p.next == p.values.size()) {
    if (p.q.at_once())
      answer_number(out, p.q, 1);
    else
      answer_nothing(out, p.q);
    putters_.pop_front();
  }
  return v;
}

// The first value. Needs `available`.
owned_channel::placed owned_channel::pop(reference_work& out) {
  if (values_.empty())
    return next_put(out);
  auto v = std::move(values_.front());
  values_.pop_front();
  return v;
}

// Returns whether the taker has its answer.
bool owned_channel::serve(taker& t, reference_work& out) {
  if (!available()) {
    // what somebody has leased may still come back for those who read to the end
    if (!closed_ || (t.q.op == ask_op::lease && leased_ > 0))
      return false;
    answer_error(out, t.q, *closed_);
    return true;
  }
  switch (t.q.op) {
    case ask_op::wait:
      answer_nothing(out, t.q);
      return true;
    case ask_op::fetch: {
      auto a = answer_to(t.q, kind::value);
      a.value = values_.empty() ? putters_.front().values[putters_.front().next] : values_.front().value;
      out.answers.push_back(std::move(a));
      return true;
    }
    case ask_op::take: {
      auto a = answer_to(t.q, kind::value);
      auto x = pop(out);
      a.value = std::move(x.value);
      a.place = x.place;
      out.answers.push_back(std::move(a));
      return true;
    }
    default: {
      auto a = answer_to(t.q, kind::elements);
      // of a channel without room for any, nothing is read ahead
      const auto most = t.q.op == ask_op::lease && capacity_ == 0 ? std::min<std::uint64_t>(t.most, 1) : t.most;
      lease l{t.q.from, t.q.number, {}};
      while (a.elements.size() < most && available()) {
        auto x = pop(out);
        if (t.q.op == ask_op::lease) {
          a.elements.push_back(x.value);
          l.values.push_back(std::move(x));
          continue;
        }
        if (a.elements.empty())
          a.place = x.place;
        a.elements.push_back(std::move(x.value));
        accept(out);
        if (!values_.empty() && values_.front().place != x.place + 1)
          break; // others have what is between: the places of all are known by the first
      }
      if (!l.values.empty()) {
        leased_ += l.values.size();
        leases_.push_back(std::move(l));
      }
      out.answers.push_back(std::move(a));
      return true;
    }
  }
}

void owned_channel::pump(reference_work& out) {
  accept(out);
  while (coming_back_.empty() && !takers_.empty() && serve(takers_.front(), out)) {
    takers_.pop_front();
    accept(out);
  }
}

// What was on its way back is here, or nothing has come of it.
void owned_channel::come_back(proc_id from, std::uint64_t take, reference_work& out) {
  std::erase(coming_back_, std::pair{from, take});
  pump_again(out);
}

// Whoever wants a value at once has waited only for what was coming back.
void owned_channel::pump_again(reference_work& out) {
  pump(out);
  if (!coming_back_.empty())
    return;
  const auto asks_now = [](auto& t) { return t.q.at_once(); };
  for (auto& t : takers_)
    if (asks_now(t))
      answer_nothing(out, t.q);
  takers_.erase(std::remove_if(takers_.begin(), takers_.end(), asks_now), takers_.end());
}

void owned_channel::return_lease(lease& l) {
  leased_ -= l.values.size() - l.used;
  while (l.used < l.values.size())
    put_back(std::move(l.values[l.used++]));
}

// Before all that was put after it.
void owned_channel::put_back(placed x) {
  auto at = values_.begin();
  while (at != values_.end() && at->place < x.place)
    ++at;
  values_.insert(at, std::move(x));
}

bool owned_channel::withdraw(proc_id from, std::uint64_t number, reference_work& out) {
  const auto of = [&](auto& x) { return x.q.from == from && x.q.number == number; };
  if (const auto t = std::find_if(takers_.begin(), takers_.end(), of); t != takers_.end()) {
    takers_.erase(t);
    pump(out);
    return true;
  }
  const auto p = std::find_if(putters_.begin(), putters_.end(), of);
  if (p == putters_.end())
    return false;
  out.drop(p->values);
  putters_.erase(p);
  pump(out);
  return true;
}

void owned_channel::expect_back(proc_id from, std::uint64_t number) { coming_back_.emplace_back(from, number); }

void owned_channel::forget(proc_id gone, const error_info& why, reference_work& out) {
  takers_.erase(std::remove_if(takers_.begin(), takers_.end(), [&](auto& t) { return t.q.from == gone; }), takers_.end());
  for (auto p = putters_.begin(); p != putters_.end();) {
    if (p->q.from != gone) {
      ++p;
      continue;
    }
    out.drop(p->values);
    p = putters_.erase(p);
  }
  for (auto& l : leases_)
    if (l.who == gone)
      return_lease(l);
  std::erase_if(leases_, [&](auto& l) { return l.who == gone; });
  if (tied == gone)
    close(why, out);
  std::erase_if(coming_back_, [&](auto& x) { return x.first == gone; });
  pump_again(out);
}

void owned_channel::end(const reason& why, reference_work& out) {
  for (auto& t : std::exchange(takers_, {}))
    answer_error(out, t.q, why());
  for (auto& p : std::exchange(putters_, {})) {
    answer_error(out, p.q, why());
    out.drop(p.values);
  }
  for (auto& v : std::exchange(values_, {}))
    out.garbage.push_back(std::move(v.value));
  for (auto& l : std::exchange(leases_, {}))
    for (auto& v : l.values)
      out.garbage.push_back(std::move(v.value));
}

} // namespace troupe
