#include "troupe/actors/driving.hpp"

#include "troupe/actors/waiter.hpp"

namespace troupe {

namespace {

std::atomic<loop*> the_loop{nullptr};

constexpr const char* why_not_to_block = "nothing that runs on the event loop may block";

} // namespace

void driving::set_loop(loop* l) { the_loop = l; }

loop* driving::loop_of_driver() {
  const auto l = the_loop.load(std::memory_order_relaxed);
  return l != nullptr && l->in_loop_thread() ? l : nullptr;
}

void driving::look() {
  const auto l = the_loop.load();
  if (l == nullptr)
    return;
  loop::lease lease{*l, loop::lease::insistence::asks_once};
  if (!lease)
    return;
  waiter::no_blocking guard{why_not_to_block};
  lease.look();
}

driving::driving(patience& p, loop::sitter who) : patience_(p), who_(who), loop_(the_loop) {}

driving::~driving() {
  if (began_)
    patience_.end(clock::now());
}

void driving::tell() {
  told_ = true;
  if (asleep_)
    loop_->ring();
}

bool driving::over(clock::time_point limit) const { return told_ || (limit != clock::time_point::max() && clock::now() >= limit); }

// Returns whether there is nothing to wait for any more.
bool driving::drive(loop::lease& lease, clock::time_point limit) {
  waiter::no_blocking guard{why_not_to_block};
  auto asks = patience_.begin(clock::now());
  began_ = true;
  lease.run_soon();
  while (!over(limit)) {
    if (lease.stopping())
      return false;
    bool any = true;
    if (!asks) {
      if (!lease.sleep(who_, limit, told_, asleep_))
        return over(limit);
    } else {
      any = lease.poll();
    }
    const auto now = clock::now();
    if (any && who_ == loop::sitter::idler) { // what others wait for is what it is there for
      patience_.end(now);
      asks = patience_.begin(now);
    } else {
      asks = asks ? patience_.more(now, any) : patience_.begin(now);
    }
  }
  return true;
}

void driving::until_told(clock::time_point limit) {
  if (loop_ == nullptr || over(limit))
    return;
  {
    loop::lease lease{*loop_};
    if (lease && drive(lease, limit))
      return;
    lease.hand_over();
  }
  if (who_ == loop::sitter::waiter)
    hurry_.emplace(*loop_);
}

} // namespace troupe
