#include "troupe/transport/loop.hpp"

#include <cerrno>
#include <climits>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace troupe {

namespace {

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

std::uint64_t key(int fd, std::uint32_t generation) {
  return (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd);
}

} // namespace

loop::loop(clock_source time)
  : time_(std::move(time)), epoll_(epoll_create1(EPOLL_CLOEXEC)), bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!epoll_ || !bell_)
    throw_errno("troupe: cannot make an event loop");
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = key(bell_.get(), 0);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, bell_.get(), &e) != 0)
    throw_errno("troupe: cannot watch the event loop's bell");
}

loop::~loop() {
  // what is dropped here, such as a connection that was being made, wants to be taken off these lists
  auto watched = std::exchange(watched_, {});
  auto timers = std::exchange(timers_, {});
  timer_times_.clear();
  auto posted = std::exchange(posted_, {});
}

void loop::watch(int fd, std::uint32_t events, watcher on_event) {
  auto generation = next_generation_++;
  epoll_event e{};
  e.events = events;
  e.data.u64 = key(fd, generation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0)
    throw_errno("troupe: cannot watch a descriptor");
  watched_[fd] = {generation, std::make_shared<watcher>(std::move(on_event))};
}

void loop::rewatch(int fd, std::uint32_t events) {
  auto i = watched_.find(fd);
  if (i == watched_.end())
    return;
  epoll_event e{};
  e.events = events;
  e.data.u64 = key(fd, i->second.generation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) != 0)
    throw_errno("troupe: cannot watch a descriptor");
}

void loop::unwatch(int fd) {
  if (watched_.erase(fd) != 0)
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

loop::timer_id loop::call_at(clock::time_point when, task what) {
  auto id = next_timer_++;
  timers_.emplace(std::pair{when, id}, std::move(what));
  timer_times_.emplace(id, when);
  return id;
}

void loop::cancel(timer_id id) {
  auto i = timer_times_.find(id);
  if (i == timer_times_.end())
    return;
  timers_.erase({i->second, id});
  timer_times_.erase(i);
}

void loop::post(task what) {
  {
    std::lock_guard guard{posted_mutex_};
    posted_.push_back(std::move(what));
  }
  // One ring is enough until the loop has looked: it clears the flag before it takes what was posted.
  if (!rung_.exchange(true)) {
    std::uint64_t one = 1;
    static_cast<void>(!::write(bell_.get(), &one, sizeof one)); // full means that it already rings
  }
}

void loop::drain_bell() {
  std::uint64_t count;
  static_cast<void>(!::read(bell_.get(), &count, sizeof count)); // empty is fine
}

bool loop::run_posted() {
  if (!rung_.exchange(false))
    return false;
  std::vector<task> batch;
  {
    std::lock_guard guard{posted_mutex_};
    batch.swap(posted_);
  }
  for (auto& what : batch)
    what();
  return !batch.empty();
}

bool loop::run_timers() {
  auto t = now();
  bool any = false;
  while (!timers_.empty() && timers_.begin()->first.first <= t) {
    auto first = timers_.begin();
    auto what = std::move(first->second);
    timer_times_.erase(first->first.second);
    timers_.erase(first);
    what();
    any = true;
  }
  return any;
}

int loop::timeout_ms() const {
  if (timers_.empty())
    return -1;
  auto left = timers_.begin()->first.first - now();
  if (left <= clock::duration::zero())
    return 0;
  // rounded up, so that a timer isn't polled for in its last millisecond
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return ms > INT_MAX ? INT_MAX : static_cast<int>(ms);
}

bool loop::wait_for_events(int timeout) {
  bool any = false;
  epoll_event events[64];
  auto n = epoll_wait(epoll_.get(), events, 64, timeout);
  if (n < 0 && errno != EINTR)
    throw_errno("troupe: cannot wait for events");
  for (int i = 0; i < n; ++i) {
    auto fd = static_cast<int>(static_cast<std::uint32_t>(events[i].data.u64));
    auto generation = static_cast<std::uint32_t>(events[i].data.u64 >> 32);
    if (fd == bell_.get()) {
      drain_bell();
      continue;
    }
    // an earlier event of this round may have ended this one, or its number may belong to another descriptor by now
    auto found = watched_.find(fd);
    if (found == watched_.end() || found->second.generation != generation)
      continue;
    auto on_event = found->second.on_event;
    (*on_event)(events[i].events);
    any = true;
  }
  return any;
}

void loop::run() {
  driver_ = std::this_thread::get_id();
  while (!stop_) {
    wait_for_events(timeout_ms());
    run_timers();
    run_posted();
  }
  run_posted();
  driver_ = std::thread::id{};
}

bool loop::step() {
  driver_ = std::this_thread::get_id();
  bool any = wait_for_events(0);
  any = run_timers() || any;
  any = run_posted() || any;
  driver_ = std::thread::id{};
  return any;
}

std::optional<loop::clock::time_point> loop::next_timer() const {
  if (timers_.empty())
    return std::nullopt;
  return timers_.begin()->first.first;
}

void loop::stop() {
  stop_ = true;
  post([] {});
}

} // namespace troupe
