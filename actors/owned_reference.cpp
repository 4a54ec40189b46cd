#include "troupe/actors/owned_reference.hpp"

#include "troupe/actors/type_tag.hpp"

#include <iterator>

namespace troupe {

void reference_work::drop(std::vector<kept_value>& values) {
  garbage.insert(garbage.end(), std::make_move_iterator(values.begin()), std::make_move_iterator(values.end()));
}

void owned_reference::answer_error(reference_work& out, const reference_question& q, error_info why) {
  if (q.number == 0)
    return;
  auto a = answer_to(q, reference_answer::kind::error);
  a.why = std::make_shared<const error_info>(std::move(why));
  out.answers.push_back(std::move(a));
}

void owned_reference::answer_number(reference_work& out, const reference_question& q, std::uint64_t n) {
  auto a = answer_to(q, reference_answer::kind::number);
  a.number = n;
  out.answers.push_back(std::move(a));
}

void owned_reference::answer_nothing(reference_work& out, const reference_question& q) {
  out.answers.push_back(answer_to(q, reference_answer::kind::nothing));
}

error_info owned_reference::read_reason(reference_question& q) const {
  const auto given = q.in->get<std::uint8_t>() != 0;
  auto why =
    given ? read<error_info>(*q.in) : make_error_info(error_kind::channel_closed, "channel " + to_string(id_) + " is closed", id_.where);
  q.in->expect_end();
  return why;
}

void owned_reference::check_type(const reference_question& q, std::uint64_t type) const {
  if (q.type != 0 && type != 0 && q.type != type)
    throw_error(make_error_info(error_kind::type_mismatch,
                                "reference " + to_string(id_) + " stands for " + detail::type_tag_name(type) + ", and was used for "
                                  + detail::type_tag_name(q.type),
                                id_.where));
}

void owned_reference::throw_wrong_op(const reference_question& q, const char* what_it_is) const {
  throw_error(make_error_info(error_kind::type_mismatch,
                              "reference " + to_string(id_) + " is " + what_it_is + ", and was used as something else (operation "
                                + std::to_string(static_cast<int>(q.op)) + ")",
                              id_.where));
}

} // namespace troupe
