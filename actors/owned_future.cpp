#include "troupe/actors/owned_future.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

namespace {

using kind = reference_answer::kind;

} // namespace

owned_future::rest& owned_future::more() {
  if (!rest_)
    rest_ = std::make_unique<rest>();
  return *rest_;
}

std::vector<reference_question> owned_future::take_waiting() {
  return rest_ ? std::exchange(rest_->waiting, {}) : std::vector<reference_question>{};
}

void owned_future::ask(reference_question& q, reference_work& out) {
  if (q.from == id().whence && type_ == 0)
    type_ = q.type; // its maker knows
  switch (q.op) {
    case ask_op::wait:
    case ask_op::fetch:
      check_type(q, type_);
      if (done_)
        return answer(q, out);
      if (q.at_once())
        return answer_nothing(out, q);
      more().waiting.push_back(q.to_be_kept());
      return;
    case ask_op::isready:
      check_type(q, type_);
      return answer_number(out, q, done_ ? 1 : 0);
    case ask_op::put: {
      check_type(q, type_);
      auto values = read_elements(*q.in, *q.frame);
      if (values.size() != 1)
        throw codec_error{std::to_string(values.size()) + " values for a future"};
      if (done_)
        throw_already_set();
      set_value(std::move(values.front()), q.type, out);
      return answer_nothing(out, q);
    }
    case ask_op::fail: {
      auto why = read<error_info>(*q.in);
      q.in->expect_end();
      if (done_)
        throw_already_set();
      set_error(std::move(why), out);
      return answer_nothing(out, q);
    }
    default:
      throw_wrong_op(q, "a future");
  }
}

void owned_future::throw_already_set() const {
  throw_error(make_error_info(error_kind::already_set,
                              "future " + to_string(id()) + " has " + (rest_ && rest_->error ? "an error" : "a value")
                                + " already: it is set only once",
                              id().where));
}

void owned_future::set_value(kept_value value, std::uint64_t type, reference_work& out) {
  done_ = true;
  more().value = std::move(value);
  type_ = type;
  answer_all(out);
}

void owned_future::set_small_value(std::span<const std::byte> value, std::uint64_t type, reference_work& out) {
  done_ = true;
  std::copy(value.begin(), value.end(), inside_.begin());
  inside_size_ = static_cast<std::uint8_t>(value.size());
  type_ = type;
  answer_all(out);
}

void owned_future::set_error(error_info why, reference_work& out) {
  done_ = true;
  more().error = std::make_shared<const error_info>(std::move(why));
  answer_all(out);
}

void owned_future::answer(const reference_question& q, reference_work& out) const {
  auto a = answer_to(q, kind::nothing);
  if (rest_ && rest_->error) {
    a.what = kind::error;
    a.why = rest_->error;
  } else if (q.op == ask_op::fetch) {
    a.what = kind::value;
    if (inside_size_ != 0)
      a.value = kept_value::of(std::span{inside_}.first(inside_size_), nullptr, {});
    else if (rest_)
      a.value = rest_->value;
  }
  out.answers.push_back(std::move(a));
}

void owned_future::answer_all(reference_work& out) {
  for (auto& q : take_waiting())
    try {
      check_type(q, type_);
      answer(q, out);
    } catch (const error& e) {
      answer_error(out, q, e.info());
    }
}

bool owned_future::withdraw(proc_id from, std::uint64_t number, reference_work&) {
  return rest_ && std::erase_if(rest_->waiting, [&](auto& q) { return q.from == from && q.number == number; }) > 0;
}

void owned_future::forget(proc_id gone, const error_info& why, reference_work& out) {
  if (rest_)
    std::erase_if(rest_->waiting, [&](auto& q) { return q.from == gone; });
  if (tied == gone && !done_)
    set_error(why, out);
}

void owned_future::end(const reason& why, reference_work& out) {
  for (auto& q : take_waiting())
    answer_error(out, q, why());
  if (rest_ && (rest_->value.keeper || !rest_->value.references.empty()))
    out.garbage.push_back(std::move(rest_->value));
}

} // namespace troupe
