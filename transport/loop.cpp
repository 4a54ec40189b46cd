#include "troupe/transport/loop.hpp"

#include "troupe/transport/brief_lock.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace troupe {

namespace {

constexpr int max_events = 64;
// Nobody drives for twice as long, at most, when a thread has stopped driving and nothing has asked for the loop's own since.
constexpr std::chrono::milliseconds parking_time{1};
constexpr std::chrono::nanoseconds at_once{1};
// When a thread waits for that, or something is to be run soon.
constexpr std::chrono::microseconds short_parking_time{500};
// What is to be run soon is run this often, at most. It takes the longer the more peers are written to, each of which then has to be woken, may take the
// CPU from who wakes it, and finds its caches cold: so it is run the less often the longer it takes, but not so seldom that who waits for it elsewhere
// would notice. Of many, some have their turn each time: then they don't all wake together, and not all of them late.
constexpr std::chrono::microseconds soon_interval{100};
constexpr int soon_share = 16;
constexpr std::chrono::milliseconds longest_soon_interval{4};
constexpr std::chrono::milliseconds longest_soon_wait{16}; // for its turn
constexpr std::size_t most_turns = 8;
constexpr std::size_t least_at_once = 2;
// One of so many looks asks the clock, which waits for all that the CPU has begun to read.
constexpr unsigned looks_share = 16;
// How often who wants the seat lets others run until it is free.
constexpr int courtesies = 100;
// A µs, in which one round that handles nothing ends.
constexpr int tries = 200;

thread_local bool looks_later = false;

[[noreturn]] void throw_errno(const char* what) { throw std::system_error{errno, std::generic_category(), what}; }

std::uint64_t key(int fd, std::uint32_t generation) { return (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd); }

// Runs what is in a list, which others may add to meanwhile; returns whether there was anything.
bool run_all(std::mutex& mutex, std::vector<loop::task>& tasks) {
  std::vector<loop::task> batch;
  {
    auto lock = lock_briefly(mutex);
    batch.swap(tasks);
  }
  for (auto& what : batch)
    what();
  return !batch.empty();
}

} // namespace

loop::loop(clock_source time)
  : time_(std::move(time)),
    epoll_(epoll_create1(EPOLL_CLOEXEC)),
    bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
    alarm_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
  if (!epoll_ || !bell_ || !alarm_)
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
  add_watched(fd, events, false, [f = std::move(on_event)](std::uint32_t what) {
    f(what);
    return true;
  });
}

void loop::watch_reader(int fd, std::uint32_t events, reader on_event) { add_watched(fd, events, true, std::move(on_event)); }

void loop::add_watched(int fd, std::uint32_t events, bool reads, reader on_event) {
  auto generation = next_generation_++;
  epoll_event e{};
  e.events = events;
  e.data.u64 = key(fd, generation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0)
    throw_errno("troupe: cannot watch a descriptor");
  watched_[fd] = {generation, reads, std::make_shared<reader>(std::move(on_event))};
}

void loop::rewatch(int fd, std::uint32_t events) {
  auto i = watched_.find(fd);
  if (i == watched_.end())
    return;
  if (fd == alone_ && (events & EPOLLIN) == 0)
    alone_ = favourite_ = -1;
  epoll_event e{};
  e.events = events;
  e.data.u64 = key(fd, i->second.generation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) != 0)
    throw_errno("troupe: cannot watch a descriptor");
}

void loop::unwatch(int fd) {
  if (fd == alone_)
    alone_ = favourite_ = -1;
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
    auto lock = lock_briefly(posted_mutex_);
    posted_.push_back(std::move(what));
  }
  // One is enough until somebody has looked, who clears the flag before taking what was posted.
  if (!rung_.exchange(true) && watchful_ == 0)
    wake();
}

void loop::soon(task what) {
  bool first = false;
  {
    auto lock = lock_briefly(soon_mutex_);
    ++soon_times_;
    soon_.push_back(std::move(what));
    first = !any_soon_.exchange(true);
  }
  if (in_loop_thread())
    return; // which looks when it has handled what there is
  look_if_due();
  if (!first || !any_soon_)
    return;
  if (parked_)
    look_again(alarm::early);
  else if (seat_ == sitter::loop)
    ring();
}

void loop::look_if_due() {
  if (!looks_later && !in_loop_thread() && !time_)
    run_soon_if_due();
}

void loop::look_now_and_then() {
  thread_local unsigned times = 0;
  if (++times % looks_share == 0)
    look_if_due();
}

loop::looking_later::looking_later() { looks_later = true; }

loop::looking_later::~looking_later() { looks_later = false; }

void loop::run_soon_if_due() {
  if (!any_soon_.load(std::memory_order_relaxed))
    return;
  const auto begin = now().time_since_epoch();
  if (begin.count() < soon_due_.load(std::memory_order_relaxed))
    return;
  const auto longest = std::min<clock::duration>(longest_soon_interval, longest_soon_wait / run_some_soon());
  const auto end = now().time_since_epoch();
  soon_due_.store((end + std::clamp<clock::duration>(soon_share * (end - begin), soon_interval, longest)).count(),
                  std::memory_order_relaxed);
}

// Those that have waited longest. Returns in how many turns all would have been run.
int loop::run_some_soon() {
  std::vector<task> batch;
  std::size_t all = 0;
  {
    auto lock = lock_briefly(soon_mutex_);
    all = soon_.size();
    const auto end =
      soon_.begin() + static_cast<std::ptrdiff_t>(std::min(all, std::max(least_at_once, (all + most_turns - 1) / most_turns)));
    batch.assign(std::make_move_iterator(soon_.begin()), std::make_move_iterator(end));
    soon_.erase(soon_.begin(), end);
    any_soon_ = !soon_.empty();
  }
  for (auto& what : batch)
    what();
  return batch.empty() ? 1 : static_cast<int>((all + batch.size() - 1) / batch.size());
}

bool loop::run_soon() { return any_soon_.exchange(false) && run_all(soon_mutex_, soon_); }

void loop::drain_bell() {
  std::uint64_t count;
  static_cast<void>(!::read(bell_.get(), &count, sizeof count)); // empty is fine
}

bool loop::run_posted() { return rung_.exchange(false) && run_all(posted_mutex_, posted_); }

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

// Until the next timer: rounded up, so that it isn't polled for in its last millisecond. Until the limit: rounded down.
loop::clock::duration loop::time_to_sleep(clock::time_point limit) const {
  auto ms = std::chrono::milliseconds::max();
  if (!timers_.empty())
    ms = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first - now());
  if (limit != clock::time_point::max())
    ms = std::min(ms, std::chrono::floor<std::chrono::milliseconds>(limit - now()));
  if (ms == std::chrono::milliseconds::max())
    return clock::duration::max();
  return std::clamp<clock::duration>(ms, clock::duration::zero(), std::chrono::hours{24});
}

int loop::wait_for_events(epoll_event* events, clock::duration limit) {
  using std::chrono::milliseconds;
  if (limit == clock::duration::max())
    return ::epoll_wait(epoll_.get(), events, max_events, -1);
  if (limit >= milliseconds{1} || limit <= clock::duration::zero())
    return ::epoll_wait(epoll_.get(), events, max_events, static_cast<int>(std::chrono::ceil<milliseconds>(limit).count()));
  // what epoll_wait can't do
  pollfd any{epoll_.get(), POLLIN, 0};
  const timespec nap{0, std::chrono::nanoseconds{limit}.count()};
  ::ppoll(&any, 1, &nap, nullptr);
  return ::epoll_wait(epoll_.get(), events, max_events, 0);
}

bool loop::handle_events(const epoll_event* events, int n) {
  bool any = false;
  for (int i = 0; i < n; ++i) {
    auto fd = static_cast<int>(static_cast<std::uint32_t>(events[i].data.u64));
    auto generation = static_cast<std::uint32_t>(events[i].data.u64 >> 32);
    if (fd == bell_.get()) {
      if (seat_ == sitter::nobody) // or else it is meant for who sits, who hasn't woken yet
        drain_bell();
      continue;
    }
    // an earlier event of this round may have ended this one, or its number may belong to another descriptor by now
    auto found = watched_.find(fd);
    if (found == watched_.end() || found->second.generation != generation)
      continue;
    note_alone(n == 1 ? fd : -1, found->second.reads);
    auto on_event = found->second.on_event;
    (*on_event)(events[i].events);
    any = true;
  }
  return any;
}

void loop::note_alone(int fd, bool reads) {
  if (!reads)
    fd = -1;
  favourite_ = fd == alone_ ? fd : -1;
  alone_ = fd;
}

bool loop::ask_favourite() {
  const auto on_event = watched_.at(favourite_).on_event;
  const bool any = (*on_event)(EPOLLIN);
  if (any)
    not_looked_ = source_rounds; // the others' turn
  return any;
}

// -- driving ----------------------------------------------------------------------------------------------------------

bool loop::take() {
  std::thread::id nobody;
  return driver_.compare_exchange_strong(nobody, std::this_thread::get_id(), std::memory_order_acquire, std::memory_order_relaxed);
}

void loop::give_back() { driver_.store(std::thread::id{}, std::memory_order_release); }

bool loop::poll() noexcept {
  bool any = source_ != nullptr && source_->poll();
  // to ask a source is much cheaper than a system call, and to ask a socket brings what it has
  const bool asks_one = source_ != nullptr || favourite_ >= 0;
  if (!asks_one || ++not_looked_ >= source_rounds)
    any = look_around() || any;
  else if (source_ == nullptr)
    any = ask_favourite() || any;
  any = run_posted() || any;
  run_soon_if_due();
  return any;
}

// Descriptors and timers.
bool loop::look_around() {
  not_looked_ = 0;
  epoll_event events[max_events];
  const bool any = handle_events(events, ::epoll_wait(epoll_.get(), events, max_events, 0));
  return run_timers() || any;
}

void loop::run() {
  ++watchful_;
  patience_.begin(clock::now());
  std::uint64_t soon_seen = 0;
  while (!stop_) {
    if (!take()) {
      park(alarm::late);
      continue;
    }
    const auto any = poll();
    const auto t = clock::now();
    if (soon_times_ != soon_seen) { // others are busy: not to disturb them, events are handled several at a time
      soon_seen = soon_times_;
      stop_driving();
      park(alarm::early);
      continue;
    }
    if (any) {
      patience_.end(t);
      patience_.begin(t);
    } else if (!patience_.more(t, false)) {
      if (!sit(sitter::loop)) {
        stop_driving();
        park(alarm::late);
        continue;
      }
      const auto leases = leases_.load();
      const bool drives = sleep_seated(clock::time_point::max(), nullptr, nullptr);
      const auto woken = clock::now();
      if (leases == leases_)
        patience_.end(woken);
      patience_.begin(woken);
      if (!drives)
        continue;
    }
    give_back();
    if (wanted_)
      park(alarm::late);
  }
  while (!take())
    std::this_thread::yield(); // whoever drives sees that the loop is to stop
  --watchful_;
  while (run_posted()) {
    // what has been posted meanwhile, as well
  }
  give_back();
}

// Whether who sits would wake too late for what there is to do. Needs the right to drive.
bool loop::too_late_for_sitter() const {
  return (!timers_.empty() && timers_.begin()->first.first < sleeps_until_) || (source_ != nullptr && source_->unfinished());
}

// The loop's own thread leaves it to who sits.
void loop::stop_driving() {
  const bool sooner = too_late_for_sitter();
  give_back();
  if (sooner && seat_ != sitter::nobody)
    ring();
}

// Takes the seat, which is left by a thread that may be told to. Needs the right to drive.
bool loop::sit(sitter who) {
  const auto other = seat_.load();
  if (other >= who)
    return false;
  if (other != sitter::nobody) {
    get_up_ = true;
    ring();
    for (int i = 0; i < courtesies && seat_ != sitter::nobody; ++i)
      ::sched_yield();
    get_up_ = false;
    if (seat_ != sitter::nobody)
      return false;
  }
  seat_ = who;
  return true;
}

// Until the next event, timer or post, which is handled, or until the limit. Needs the right to drive and the seat, leaves the seat; returns
// whether the thread has the right again.
bool loop::sleep_seated(clock::time_point limit, const std::atomic<bool>* told, std::atomic<bool>* asleep) {
  auto nap = time_to_sleep(limit);
  sleeps_until_ = timers_.empty() ? clock::time_point::max() : timers_.begin()->first.first;
  const auto leases = leases_.load();
  const auto asked = source_;
  if (asked != nullptr)
    nap = std::min(nap, asked->rest());
  give_back();
  --watchful_;
  if (asleep != nullptr)
    *asleep = true;
  if (rung_ || (told != nullptr && (any_soon_ || *told)))
    nap = clock::duration::zero();
  else if (any_soon_) // handle_all leaves it to who is busy until then
    nap = std::clamp(clock::duration{soon_due_.load(std::memory_order_relaxed)} - now().time_since_epoch(), clock::duration::zero(), nap);
  epoll_event events[max_events];
  const auto n = wait_for_events(events, nap);
  if (asked != nullptr)
    asked->wake();
  if (n < 0 && errno != EINTR)
    throw_errno("troupe: cannot wait for events");
  if (asleep != nullptr)
    *asleep = false;
  ++watchful_;
  const bool leaves = get_up_;
  if (leaves)
    drain_bell(); // whoever wants the seat doesn't look at it meanwhile
  seat_ = sitter::nobody;
  if (leaves || !take())
    return false;
  if (stop_) { // the loop's own thread has seen to the end, or does
    give_back();
    return false;
  }
  // those that were there while another drove may have been handled; what hasn't been comes again
  if (leases == leases_)
    handle_all(events, n, told != nullptr);
  return true;
}

void loop::handle_all(const epoll_event* events, int n, bool run_soon_now) noexcept {
  handle_events(events, n);
  if (source_ != nullptr)
    source_->poll();
  run_timers();
  run_posted();
  if (run_soon_now)
    run_soon();
  else
    run_soon_if_due();
}

// Until nobody has driven for a while, or somebody asks for it.
void loop::park(alarm when) {
  parked_ = true;
  --watchful_;
  while (!called_back_ && !stop_ && !(rung_ && watchful_ == 0)) {
    const auto leases = leases_.load();
    // Who sleeps until the next event sets the alarm when it goes on to something else.
    if (seat_ == sitter::nobody)
      look_again(any_soon_ ? alarm::early : when);
    else if (any_soon_)
      look_again(alarm::early);
    if (called_back_)
      break;
    wait_for_alarm();
    run_soon_if_due();
    if (leases == leases_ && seat_ == sitter::nobody && driver_.load() == std::thread::id{})
      break;
  }
  ++watchful_;
  parked_ = false;
  called_back_ = false;
  patience_.begin(clock::now());
}

// Sees to it that somebody looks a little later.
void loop::look_again(alarm when) {
  auto set = alarm_set_.load();
  do
    if (set >= when)
      return;
  while (!alarm_set_.compare_exchange_weak(set, when));
  if (when == alarm::early)
    set_alarm(short_parking_time);
  else
    set_alarm(parking_time);
  if (called_back_) // meanwhile
    set_alarm(at_once);
}

void loop::wait_for_alarm() {
  std::uint64_t count;
  static_cast<void>(!::read(alarm_.get(), &count, sizeof count));
  alarm_set_ = alarm::none;
}

void loop::call_back() {
  if (!called_back_.exchange(true))
    set_alarm(at_once);
}

void loop::set_alarm(clock::duration delay) {
  itimerspec when{};
  when.it_value.tv_nsec = std::chrono::nanoseconds{delay}.count();
  ::timerfd_settime(alarm_.get(), 0, &when, nullptr);
}

void loop::ring() {
  std::uint64_t one = 1;
  static_cast<void>(!::write(bell_.get(), &one, sizeof one)); // full means that it already rings
}

// Whoever sleeps until the next event, or else the loop's own thread.
void loop::wake() {
  if (seat_ != sitter::nobody)
    ring();
  else if (parked_)
    call_back();
}

loop::lease::lease(loop& l, insistence how) : loop_(l) {
  ++l.users_;
  if (l.stop_)
    return;
  has_it_ = l.take();
  if (!has_it_ && how == insistence::waits_a_little) {
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

bool loop::lease::sleep(sitter who, clock::time_point limit, const std::atomic<bool>& told, std::atomic<bool>& asleep) {
  auto& l = loop_;
  if ((limit != clock::time_point::max() && limit - l.now() < std::chrono::milliseconds{1}) || !l.sit(who))
    return false;
  has_it_ = l.sleep_seated(limit, &told, &asleep);
  if (has_it_)
    ++l.leases_;
  else
    l.leave(false, false);
  return has_it_;
}

void loop::lease::end() {
  auto& l = loop_;
  const bool sooner = l.too_late_for_sitter();
  l.give_back();
  l.leave(sooner, hand_over_);
}

// A thread neither drives nor sits any more. If nobody sits, the loop's own thread is to look: at once if there is `nobody_else`.
void loop::leave(bool sooner, bool nobody_else) {
  const bool unseen = --watchful_ == 0 && rung_;
  const bool nobody_sits = seat_ == sitter::nobody;
  if (unseen || (nobody_sits ? nobody_else : sooner))
    wake();
  else if (parked_ && (nobody_sits || any_soon_))
    look_again(any_soon_ || hurried_ > 0 ? alarm::early : alarm::late);
}

bool loop::step() {
  if (!take())
    return false;
  not_looked_ = source_rounds;
  auto any = poll();
  any = run_soon() || any;
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
  ring();
  call_back();
}

} // namespace troupe
