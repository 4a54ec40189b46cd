#include "troupe/managers/actors.hpp"

#include "troupe/actors/runtime.hpp"

namespace troupe::detail {

caf::message ask(const caf::strong_actor_ptr& whom, caf::message question) {
  if (!whom)
    throw usage_error{"request: the handle is empty, or its actor has ended"};
  auto& rt = runtime::get();
  auto answer = rt.port().ask(whom, std::move(question));
  if (answer.size() != 1 || !answer.match_element<caf::error>(0))
    return answer;
  auto where = rt.hub().where_is(whom);
  if (auto gone = rt.net().gone(where))
    throw_error(*gone);
  auto& e = answer.get_as<caf::error>(0);
  error_info info;
  info.kind = error_kind::remote;
  info.pid = where;
  info.type_name = "caf::error";
  info.message = rt.system().render(e);
  throw_error(std::move(info));
}

void throw_answer_mismatch(const caf::message& answer, const std::string& expected) {
  throw_error(make_error_info(error_kind::type_mismatch,
                              "request: the actor answered " + caf::to_string(answer) + " where " + expected + " was expected"));
}

} // namespace troupe::detail
