#include "troupe/actors/retry.hpp"

#include "troupe/actors/this_task.hpp"

namespace troupe::detail {

namespace {

bool shown_to(const retry_check& check, int tries) {
  try {
    throw;
  } catch (const error& e) {
    return e.kind() != error_kind::interrupted && e.kind() != error_kind::cancelled && check(e, tries);
  } catch (...) {
    return check(remote_error{describe_current_exception()}, tries);
  }
}

} // namespace

retrying::retrying(const delay_sequence& delays, const retry_check& check) : check_(check), walk_(delays.walk()), delay_(walk_()) {}

bool retrying::again() {
  ++tries_;
  return delay_ && !this_task::stop_requested() && shown_to(check_, tries_);
}

void retrying::pause() {
  this_task::sleep_for(*delay_);
  delay_ = walk_();
}

} // namespace troupe::detail
