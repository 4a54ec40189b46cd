#include "troupe/actors/call_limits.hpp"

#include "troupe/actors/alarms.hpp"
#include "troupe/actors/runtime.hpp"

#include <sstream>

namespace troupe::detail {

namespace {

// "200 ms", "1.5 s".
std::string text_of(std::chrono::steady_clock::duration time) {
  const auto seconds = std::chrono::duration<double>{time}.count();
  std::ostringstream out;
  if (seconds < 1)
    out << seconds * 1e3 << " ms";
  else
    out << seconds << " s";
  return out.str();
}

error_info error_of(error_kind kind, const called& call, const std::string& what) {
  auto info = make_error_info(kind, call.to_text() + what, call.to);
  if (call.label != nullptr)
    info.task = call.label();
  return info;
}

error_info deadline_error(const called& call, std::chrono::steady_clock::duration deadline) {
  return error_of(error_kind::deadline_exceeded, call, " has not ended within its deadline of " + text_of(deadline));
}

void give_up(const called& call, const error_info& why) {
  if (auto rt = runtime::find())
    rt->give_up(call.to, call.number, why);
}

// What ends a call that has no answer yet. Its end takes it back.
class watched_call {
public:
  watched_call(std::shared_ptr<alarms> timers, std::shared_ptr<cancel_state> token)
    : timers_(std::move(timers)), token_(std::move(token)) {}
  ~watched_call() {
    timers_->clear(alarm_);
    if (token_)
      token_->remove(in_token_);
  }
  watched_call(const watched_call&) = delete;
  watched_call& operator=(const watched_call&) = delete;

  void begin(std::optional<std::chrono::steady_clock::time_point> moment, std::chrono::steady_clock::duration deadline,
             const called& call) {
    if (moment)
      alarm_ = timers_->set(*moment, [call, deadline] { give_up(call, deadline_error(call, deadline)); });
    if (token_)
      in_token_ = token_->add([call] { give_up(call, cancelled_error(call)); });
  }

private:
  const std::shared_ptr<alarms> timers_;
  const std::shared_ptr<cancel_state> token_;
  alarms::id alarm_;
  std::uint64_t in_token_ = 0;
};

} // namespace

std::string called::to_text() const {
  return (label == nullptr ? "a call" : "the call of " + label())
         + (to == master_id ? " on the master" : " on worker " + std::to_string(to));
}

error_info cancelled_error(const called& call) { return error_of(error_kind::cancelled, call, " was cancelled by its caller"); }

call_limits::call_limits(const call_options& options, std::chrono::steady_clock::time_point since) {
  if (options.deadline) {
    deadline_ = *options.deadline;
    moment_ = moment_after(deadline_, since);
  }
  if (options.token)
    token_ = options.token->state();
}

std::optional<error_info> call_limits::reached(const called& call) const {
  if (token_ && token_->ready())
    return cancelled_error(call);
  if (moment_ && std::chrono::steady_clock::now() >= *moment_)
    return deadline_error(call, deadline_);
  return std::nullopt;
}

std::shared_ptr<void> call_limits::watch(const std::shared_ptr<alarms>& timers, const called& call) const {
  auto out = std::make_shared<watched_call>(timers, token_);
  out->begin(moment_, deadline_, call);
  return out;
}

} // namespace troupe::detail
