#include "troupe/actors/executor.hpp"

#include "troupe/actors/driving.hpp"
#include "troupe/transport/brief_lock.hpp"
#include "troupe/transport/log.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

namespace troupe {

namespace {

constinit thread_local executor::holder this_holder;

// More threads than turns that wait for work end; one that is needed again takes 30 µs to make.
constexpr int spare_threads = 4;

std::unique_ptr<std::function<void()>> owned_function(void* data) {
  return std::unique_ptr<std::function<void()>>{static_cast<std::function<void()>*>(data)};
}

void run_function(void*, void* data) { (*owned_function(data))(); }

} // namespace

executor::executor(int turns) : turns_(turns < 1 ? 1 : turns), free_turns_(turns_) {}

executor::~executor() {
  stop([](job) {});
  std::unique_lock lock{mutex_};
  changed_.wait(lock, [this] { return threads_.empty(); });
  auto last = std::move(ended_);
  lock.unlock();
  for (auto& thread : last)
    thread.join();
}

bool executor::submit(job j) {
  auto lock = lock_briefly(mutex_);
  if (stopped_)
    return false;
  queue_.push_back(j);
  backlog_.store(true, std::memory_order_relaxed);
  add_thread_if_needed();
  return true;
}

bool executor::submit(std::function<void()> f) {
  auto p = std::make_unique<std::function<void()>>(std::move(f));
  job j;
  j.run = run_function;
  j.data = p.get();
  if (!submit(j))
    return false;
  static_cast<void>(p.release());
  return true;
}

// Needs mutex_. Sees to it that a thread comes for each turn that is free while there is work.
void executor::add_thread_if_needed() {
  if (free_turns_ <= woken_ || queue_.size() <= static_cast<std::size_t>(woken_))
    return;
  if (idle_ > woken_) {
    ++woken_;
    if (!tell_driver())
      work_.notify_one();
    return;
  }
  auto self = threads_.emplace(threads_.end());
  try {
    *self = std::thread{[this, self] { run_thread(self); }};
    ++idle_;
    ++woken_;
  } catch (const std::system_error& e) {
    // what is queued is run when a thread that exists is done
    threads_.erase(self);
    log(log_level::error, std::string{"cannot start a thread for a task: "} + e.what());
  }
}

// Needs mutex_. Returns whether there was one.
bool executor::tell_driver() {
  if (driver_ == nullptr)
    return false;
  std::exchange(driver_, nullptr)->tell();
  return true;
}

// Needs mutex_. The turn goes to who has waited longest, then to the queue.
void executor::pass_turn_on() {
  if (!resuming_.empty()) {
    auto next = resuming_.front();
    resuming_.pop_front();
    resuming_now_ = resuming_.size();
    next->has_turn = true;
    next->granted.notify_one();
    return;
  }
  ++free_turns_;
  add_thread_if_needed();
}

// Needs mutex_, and a turn. Returns how many jobs it has.
std::size_t executor::take_batch() {
  const auto n = turns_ == 1 ? std::min(batch_size, queue_.size()) : 0;
  std::copy_n(queue_.begin(), n, batch_.begin());
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(n));
  backlog_.store(!queue_.empty(), std::memory_order_relaxed);
  batch_end_.store(n, std::memory_order_relaxed);
  batch_next_.store(0, std::memory_order_release);
  return n;
}

// Whether there is another job of the batch of `end`, which the calling thread has to run then. If the batch has been returned,
// or is another's by now, there's none.
bool executor::claim(job& next, std::size_t end) {
  if (end == 0)
    return false;
  const auto i = batch_next_.fetch_add(1, std::memory_order_acq_rel);
  if (i >= end)
    return false;
  next = batch_[i];
  return true;
}

// Needs mutex_. What nobody has begun goes back to the front of the queue.
void executor::return_batch() {
  if (turns_ != 1)
    return;
  const auto end = batch_end_.load(std::memory_order_relaxed);
  const auto begun = std::min(batch_next_.exchange(batch_size, std::memory_order_acq_rel), end);
  queue_.insert(queue_.begin(), batch_.begin() + static_cast<std::ptrdiff_t>(begun), batch_.begin() + static_cast<std::ptrdiff_t>(end));
  batch_end_.store(0, std::memory_order_relaxed);
  backlog_.store(!queue_.empty(), std::memory_order_relaxed);
}

void executor::wait_for_work(std::unique_lock<std::mutex>& lock, patience& p) {
  auto over = [this] { return woken_ > 0 || stopped_ || idle_ - woken_ > spare_threads; };
  if (over())
    return;
  driving loop{p, troupe::loop::sitter::idler};
  if (driver_ == nullptr) {
    driver_ = &loop;
    lock.unlock();
    loop.until_told();
    lock = lock_briefly(mutex_);
    if (driver_ == &loop)
      driver_ = nullptr;
  }
  work_.wait(lock, over);
}

void executor::run_thread(std::list<std::thread>::iterator self) {
  std::unique_lock lock{mutex_};
  patience p;
  auto& me = this_holder;
  me.of_ = this;
  // counted as idle and woken by who made it
  while (true) {
    wait_for_work(lock, p);
    if (stopped_ || woken_ == 0)
      break;
    --woken_;
    --idle_;
    while (!stopped_ && free_turns_ > 0 && !queue_.empty()) {
      --free_turns_;
      auto j = queue_.front();
      queue_.pop_front();
      const auto end = take_batch();
      add_thread_if_needed();
      ++running_;
      me.state_ = holder::state::has_turn;
      ++me.turns_;
      lock.unlock();
      {
        std::optional<loop::looking_later> looks;
        if (turns_ == 1)
          looks.emplace();
        do
          j.run(j.context, j.data);
        while (me.state_ == holder::state::has_turn && resuming_now_.load(std::memory_order_relaxed) == 0 && claim(j, end));
      }
      if (turns_ == 1)
        driving::look(); // with luck, no other thread of this process has to run
      lock = lock_briefly(mutex_);
      --running_;
      if (me.state_.exchange(holder::state::without) == holder::state::seized)
        continue; // turn and batch are another's
      return_batch();
      if (resuming_.empty())
        ++free_turns_; // this thread goes on with the queue itself
      else
        pass_turn_on();
    }
    ++idle_;
    if (idle_ - woken_ > spare_threads)
      work_.notify_one();
  }
  --idle_;
  // Each thread that ends sees to the end of those before it, the destructor to that of the last: nothing of the executor is touched
  // by a thread that nobody waits for.
  auto before = std::move(ended_);
  ended_.clear();
  ended_.splice(ended_.end(), threads_, self);
  if (threads_.empty())
    changed_.notify_all();
  lock.unlock();
  for (auto& thread : before)
    thread.join();
}

void executor::stop(const std::function<void(job)>& drop) {
  std::deque<job> dropped;
  {
    std::lock_guard guard{mutex_};
    stopped_ = true;
    return_batch();
    tell_driver();
    dropped.swap(queue_);
    work_.notify_all();
  }
  for (auto& j : dropped) {
    if (j.run == run_function)
      owned_function(j.data).reset();
    else
      drop(j);
  }
}

bool executor::idle() const {
  std::lock_guard guard{mutex_};
  return running_ == 0;
}

std::size_t executor::threads() const {
  std::lock_guard guard{mutex_};
  return threads_.size();
}

bool executor::in_job() { return this_holder.state_ == holder::state::has_turn; }

executor::holder& executor::holder::of_this_thread() { return this_holder; }

std::uint64_t executor::turn_of(const holder& h) {
  if (h.of_ == nullptr)
    return 0;
  auto lock = lock_briefly(h.of_->mutex_);
  return h.state_ == holder::state::has_turn ? h.turns_ : 0;
}

// The thread may be anywhere in its job. It looks whether it still has its turn before it claims another of its batch, gives the turn
// away, or has come to the end.
bool executor::seize(holder& h, std::uint64_t turn) {
  if (h.of_ == nullptr)
    return false;
  auto lock = lock_briefly(h.of_->mutex_);
  if (h.state_ != holder::state::has_turn || h.turns_ != turn)
    return false;
  h.state_ = holder::state::seized;
  h.of_->return_batch();
  h.of_->pass_turn_on();
  return true;
}

void executor::regain_turn() {
  if (this_holder.state_ == holder::state::seized)
    waiting{};
}

void executor::give_turn(holder& me) {
  auto lock = lock_briefly(mutex_);
  if (me.state_.exchange(holder::state::without) == holder::state::seized)
    return;
  return_batch();
  pass_turn_on();
}

void executor::take_turn(holder& me) {
  auto lock = lock_briefly(mutex_);
  if (free_turns_ > 0 && resuming_.empty()) {
    --free_turns_;
  } else {
    resuming r;
    resuming_.push_back(&r);
    resuming_now_ = resuming_.size();
    r.granted.wait(lock, [&] { return r.has_turn; });
  }
  me.state_ = holder::state::has_turn;
  ++me.turns_;
}

executor::waiting::waiting() : executor_(this_holder.state_ == holder::state::without ? nullptr : this_holder.of_) {
  if (executor_ != nullptr)
    executor_->give_turn(this_holder);
}

executor::waiting::~waiting() {
  if (executor_ != nullptr)
    executor_->take_turn(this_holder);
}

} // namespace troupe
