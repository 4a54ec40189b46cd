#include "troupe/actors/driving.hpp"

#include "troupe/actors/waiter.hpp"

#include <atomic>

namespace troupe {

namespace {

std::atomic<loop*> the_loop{nullptr};

} // namespace

void driving::set_loop(loop* l) {
  the_loop = l;
}

driving::driving(patience& p) : patience_(p), loop_(the_loop) {
  if (!patience_.begin(patience::clock::now()))
    loop_ = nullptr;
}

driving::~driving() {
  patience_.end(patience::clock::now());
}

void driving::drive(bool (*done)(void*), void* context) {
  {
    loop::lease lease{*loop_};
    if (lease) {
      waiter::no_blocking guard{"nothing that runs on the event loop may block"};
      while (!done(context)) {
        const auto busy = lease.poll();
        if (lease.stopping() || !patience_.more(patience::clock::now(), busy)) {
          lease.hand_over();
          return;
        }
      }
      return;
    }
  }
  hurry_.emplace(*loop_);
}

} // namespace troupe
