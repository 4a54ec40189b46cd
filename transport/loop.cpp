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

constexpr int max_events = 64;
// How long nobody drives, at most, when a thread has stopped driving and nothing has asked for the loop's own since.
constexpr std::chrono::milliseconds parking_time{1};
// A µs, in which one round that handles nothing ends.
constexpr int tries = 200;

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
  while (users_ > 0)
    std::this_thread::yield(); // who has waited is about to go on
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
  // One is enough until somebody has looked, who clears the flag before taking what was posted.
  if (!rung_.exchange(true) && watchful_ == 0)
    wake();
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

bool loop::handle_events(const epoll_event* events, int n) {
  bool any = false;
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

// -- driving ----------------------------------------------------------------------------------------------------------

bool loop::take() {
  std::thread::id nobody;
  return driver_.compare_exchange_strong(nobody, std::this_thread::get_id(), std::memory_order_acquire, std::memory_order_relaxed);
}

void loop::give_back() {
  driver_.store(std::thread::id{}, std::memory_order_release);
}

bool loop::poll() noexcept {
  epoll_event events[max_events];
  bool any = handle_events(events, ::epoll_wait(epoll_.get(), events, max_events, 0));
  any = run_timers() || any;
  return run_posted() || any;
}

void loop::run() {
  ++watchful_;
  patience_.begin(clock::now());
  while (!stop_) {
    if (!take()) {
      park();
      continue;
    }
    const auto any = poll();
    const auto t = clock::now();
    if (any) {
      patience_.end(t);
      patience_.begin(t);
    } else if (!patience_.more(t, false)) {
      sleep();
      continue;
    }
    give_back();
    if (wanted_)
      park();
  }
  while (!take())
    std::this_thread::yield(); // whoever drives sees that the loop is to stop
  --watchful_;
  run_posted();
  give_back();
}

// Until the next event, timer or post.
void loop::sleep() {
  auto timeout = timeout_ms();
  sleeps_until_ = timers_.empty() ? clock::time_point::max() : timers_.begin()->first.first;
  const auto leases = leases_.load();
  asleep_ = true;
  give_back();
  --watchful_;
  if (rung_)
    timeout = 0;
  epoll_event events[max_events];
  auto n = ::epoll_wait(epoll_.get(), events, max_events, timeout);
  if (n < 0 && errno != EINTR)
    throw_errno("troupe: cannot wait for events");
  ++watchful_;
  asleep_ = false;
  const auto t = clock::now();
  if (leases == leases_)
    patience_.end(t);
  patience_.begin(t);
  if (!take())
    return;
  // those that were there while another drove may have been handled; what hasn't been comes again
  if (leases == leases_)
    handle_all(events, n);
  give_back();
}

void loop::handle_all(const epoll_event* events, int n) noexcept {
  handle_events(events, n);
  run_timers();
  run_posted();
}

// Until nobody has driven for a while, or somebody asks for it.
void loop::park() {
  std::unique_lock lock{parking_mutex_};
  parked_ = true;
  --watchful_;
  while (true) {
    const auto leases = leases_.load();
    if (called_back_ || stop_ || (rung_ && watchful_ == 0))
      break;
    parking_.wait_for(lock, parking_time, [this] { return called_back_ || stop_.load(); });
    if (leases == leases_ && driver_.load() == std::thread::id{})
      break;
  }
  called_back_ = false;
  ++watchful_;
  parked_ = false;
  patience_.begin(clock::now());
}

void loop::wake() {
  if (asleep_) {
    std::uint64_t one = 1;
    static_cast<void>(!::write(bell_.get(), &one, sizeof one)); // full means that it already rings
  }
  if (parked_) {
    std::lock_guard guard{parking_mutex_};
    called_back_ = true;
    parking_.notify_one();
  }
}

loop::lease::lease(loop& l) : loop_(l) {
  ++l.users_;
  if (l.stop_)
    return;
  has_it_ = l.take();
  if (!has_it_) {
    // the loop's own thread may be asking for events again and again
    l.wanted_ = true;
    for (int i = 0; i < tries && !has_it_; ++i)
      has_it_ = l.take();
    l.wanted_ = false;
  }
  if (has_it_ && l.stop_) { // the loop's own thread may have ended meanwhile
    l.give_back();
    has_it_ = false;
  }
  if (has_it_) {
    ++l.leases_;
    ++l.watchful_;
  }
}

loop::lease::~lease() {
  if (has_it_)
    end();
  --loop_.users_;
}

void loop::lease::end() {
  auto& l = loop_;
  const bool sooner = !l.timers_.empty() && l.timers_.begin()->first.first < l.sleeps_until_;
  l.give_back();
  const bool unseen = --l.watchful_ == 0 && l.rung_;
  if (unseen || sooner || hand_over_ || l.hurried_ > 0)
    l.wake();
}

bool loop::step() {
  if (!take())
    return false;
  auto any = poll();
  give_back();
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
  wake();
}

} // namespace troupe
