#include "troupe/transport/door.hpp"

#include <algorithm>
#include <exception>
#include <sys/resource.h>
#include <utility>

namespace troupe {

namespace {

refusal_reason reason_of(handshake::failure_kind kind) {
  using failure = handshake::failure_kind;
  switch (kind) {
    case failure::not_troupe:
      return refusal_reason::junk;
    case failure::version:
      return refusal_reason::version;
    case failure::byte_order:
      return refusal_reason::byte_order;
    case failure::cookie:
      return refusal_reason::cookie;
    case failure::reflected:
      return refusal_reason::reflected;
    case failure::abandoned:
    case failure::none:
      break;
  }
  return refusal_reason::left;
}

} // namespace

door::door(loop& l, settings s, events e) : loop_(l), settings_(s), events_(std::move(e)) {}

door::~door() {
  closed_ = true;
  loop_.cancel(timer_);
  while (!visitors_.empty())
    drop(visitors_.front(), refusal_reason::left, {});
}

void door::knock(std::unique_ptr<byte_stream> stream, const std::string& cookie) {
  if (make_room())
    return admit(std::move(stream), cookie);
  auto peer = stream->peer();
  refuse(refusal_reason::crowd, peer, peer + ": " + std::to_string(strangers_) + " others wait to introduce themselves");
}

std::size_t door::most() const {
  ::rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0)
    return settings_.most;
  return std::min(settings_.most, std::max<std::size_t>(descriptors.rlim_cur / 4, 1));
}

// False if there's none, and nobody has waited long enough to be dropped.
bool door::make_room() {
  while (strangers_ >= most()) {
    auto oldest = std::find_if(visitors_.begin(), visitors_.end(), [](const visitor& v) { return v.stranger; });
    if (loop_.now() - oldest->since <= settings_.patience)
      return false;
    drop(*oldest, refusal_reason::crowd, "made room for others");
  }
  return true;
}

// The functions hold one pointer and nothing else, so that they need no memory of their own.
void door::admit(std::unique_ptr<byte_stream> stream, const std::string& cookie) {
  auto& v = visitors_.emplace_back(visitor{.where = this, .since = loop_.now(), .talk = nullptr, .self = {}});
  v.self = std::prev(visitors_.end());
  ++strangers_;
  connection::settings s;
  s.role = handshake::role::acceptor;
  s.cookie = cookie;
  s.limit = std::chrono::milliseconds::zero(); // the door keeps the time
  s.proved = [&v] { v.where->proved(v); };
  s.check = [&v](const hello& h) {
    v.id = h.from;
    return v.where->events_.check(h);
  };
  s.introduce = [&v] { return v.where->events_.introduce(v.id); };
  s.done = [&v](std::unique_ptr<established> e, std::string why) { v.where->ended(v, std::move(e), std::move(why)); };
  auto talk = v.talk = std::make_shared<connection>(loop_, std::move(stream), std::move(s));
  try {
    talk->start(); // which may have been all
  } catch (const std::exception& e) { // the kernel has no memory to watch it
    drop(v, refusal_reason::trouble, "can't be attended to (" + std::string{e.what()} + ")");
  }
  if (timer_ == 0 && !visitors_.empty())
    watch_the_clock();
}

void door::proved(visitor& v) {
  v.stranger = false;
  --strangers_;
}

void door::drop(visitor& v, refusal_reason why, const std::string& what_it_did) {
  v.dropped_for = why;
  auto talk = v.talk; // `v` goes on the way
  talk->abandon(what_it_did);
}

void door::ended(visitor& v, std::unique_ptr<established> e, std::string why) {
  auto talk = std::move(v.talk);
  auto reason = v.dropped_for;
  if (reason == refusal_reason::left)
    reason = v.stranger ? reason_of(talk->failure_reason()) : refusal_reason::unwelcome;
  strangers_ -= v.stranger;
  visitors_.erase(v.self);
  if (closed_)
    return;
  if (e)
    events_.entered(std::move(e));
  else
    refuse(reason, talk->peer(), std::move(why));
}

void door::refuse(refusal_reason why, const std::string& peer, std::string text) {
  events_.refused({why, peer.substr(0, peer.rfind(':')), std::move(text)});
}

// Who leaves before its deadline doesn't touch the timer: it finds out.
void door::watch_the_clock() {
  auto now = loop_.now();
  while (!visitors_.empty() && visitors_.front().since + settings_.limit <= now) {
    auto text = "was too slow: its " + std::to_string(settings_.limit.count()) + " ms were over";
    drop(visitors_.front(), refusal_reason::slow, text);
  }
  timer_ = visitors_.empty() ? 0 : loop_.call_at(visitors_.front().since + settings_.limit, [this] { watch_the_clock(); });
}

} // namespace troupe
