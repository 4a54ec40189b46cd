#include "troupe/actors/map_run.hpp"

#include "troupe/actors/call.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/actors/this_task.hpp"
#include "troupe/actors/waiter.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace troupe::detail {

namespace {

using namespace std::chrono_literals;

// What a batch shall take, if nothing is said of its size: long against what it costs to send it, short against a run.
constexpr double batch_time = 1e-3;
// No less where the end is near.
constexpr double least_batch_time = 1e-4;
// No batch is that much larger than one whose time is known: elements differ.
constexpr std::size_t most_growth = 8;
constexpr double most_batch_bytes = 1 << 20;
// What a worker has to do while an answer and the next batch are on their way.
constexpr double ahead_time = 2e-3;
// Who waits longer for an answer leaves the CPU to others: nobody waits for this thread.
constexpr double worth_polling = 1e-4;
// Into so many what a worker has died of is divided.
constexpr std::size_t most_parts = 64;
constexpr std::size_t most_ahead = 64;
// Nothing is sent ahead to a worker that has so much on its way: whatever waits for room holds up others.
constexpr std::size_t most_bytes_ahead = 8 << 20;
constexpr std::size_t largest_count = std::size_t{1} << 30;

void stop_map_here(proc_id from, std::uint64_t map) { runtime::get().maps().stop(from, map); }

void end_map_here(proc_id from, std::uint64_t map) { runtime::get().maps().end(from, map); }

// Who is gone needn't know.
template <auto F>
void tell(proc_id whom, std::uint64_t map) {
  using task = task_of<fn_t<F>, proc_id, std::uint64_t>;
  try {
    outgoing_call call{whom, task::id(), call_direct | call_no_reply, &task::label};
    call.encode([&](writer& out) { task::write_call(out, nullptr, fn<F>, runtime::get().id(), map); });
    call.send(nullptr, false);
  } catch (const error&) {
  }
}

std::string list_of(const std::vector<proc_id>& ids) {
  std::string out;
  for (std::size_t i = 0; i < ids.size(); ++i)
    out += (i == 0 ? "" : i + 1 == ids.size() ? " and " : ", ") + std::to_string(ids[i]);
  return out;
}

std::atomic<std::uint64_t> last_number{0};

} // namespace

batch_guard::batch_guard(proc_id from, std::uint64_t map) : from_(from), map_(map), flag_(runtime::get().maps().begin(from, map)) {}

batch_guard::~batch_guard() { runtime::get().maps().over(from_, map_, flag_); }

bool batch_guard::told_to_stop() {
  const auto task = task_control::current();
  return task != nullptr && task->told();
}

void batch_guard::check_task() { task_control::check(); }

reader batch_reply::content() {
  reader in{payload().value.bytes, process_codec()};
  in.set_references(payload().value.references);
  in.set_landed(payload().landed.get());
  return in;
}

std::size_t batch_reply::size() { return payload().value.bytes.size() + (payload().landed ? payload().landed->size : 0); }

// What there is to a run, but for what its elements are.
class map_run::engine {
public:
  using clock = std::chrono::steady_clock;

  engine(map_run& of, settings s);

  void go();
  void failed(std::size_t item, error_info why, proc_id where, bool worker_died = false);
  void done_with(std::size_t first, std::size_t count);
  void expect(batch& b, std::shared_ptr<batch_reply> reply);
  bool is_done(std::size_t item) const;
  bool answers_soon() const;
  std::uint64_t number() const { return number_; }
  std::size_t slots() const { return slots_; }

private:
  /// Part of the elements that are to be done.
  struct share {
    std::size_t first = 0;
    std::size_t count = 0;
    /// Who had it before, and may have been the reason why it failed.
    proc_id avoid = 0;
    /// A worker may have died of it: nothing else is given to who has it.
    bool alone = false;
    /// Who has ended with it.
    std::vector<proc_id> deaths{};
  };

  struct member {
    proc_id id = 0;
    std::size_t slots = 1;
    bool listed = false; // in the pool, and to be used
    bool gone = false;
    std::vector<std::unique_ptr<batch>> out; // in the order in which they were sent
    std::size_t bytes = 0;                   // of these
    bool begun = false;                      // was given something
    bool alone = false;                      // has a share that is to be alone
  };

  // Where answers arrive, from whatever thread. Outlives the run.
  class arrivals {
  public:
    void put(batch* b);
    void stir();
    /// Blocks until there is something, or until the limit. `soon`: it is worth polling for.
    void wait(std::optional<clock::time_point> limit, bool soon);
    std::vector<batch*> take();

  private:
    std::mutex mutex_; // guards the rest
    std::vector<batch*> all_;
    bool stirred_ = false;
    waiter* waiting_ = nullptr;
  };

  void run();
  void look_at_pool();
  void take_view(const pool_view& view);
  void take_custom();
  void fill_all();
  bool give(member& m);
  bool may_draw() const;
  std::optional<share> next_share(const member& m);
  std::size_t size_of_next() const;
  std::size_t most_out(const member& m) const;
  bool anything_left() const;
  void wait();
  void handle_arrived();
  void finished(batch& b);
  void lost_with(member& m, batch& b, std::size_t place, const error_info& why);
  void lost_element(std::size_t item, const std::vector<proc_id>& deaths, const error_info& why);
  void again(share s, bool in_front);
  void measure(const batch_report& r);
  void check_limits();
  void check_members();
  void fail(std::exception_ptr why);
  void stop();
  void abandon(const error_info& why);
  void end_on_members();
  member& member_of(proc_id id);
  void give_back(member& m);
  map_status status() const;

  map_run& map_;
  const settings settings_;
  const std::uint64_t number_;
  const std::shared_ptr<arrivals> arrivals_ = std::make_shared<arrivals>();
  const std::optional<clock::time_point> deadline_;
  std::vector<std::unique_ptr<member>> members_;
  std::shared_ptr<reference_answer_state> view_;   // asked for
  std::shared_ptr<reference_answer_state> taking_; // of a pool of the user's own
  std::uint64_t version_ = 0;
  bool custom_ = false;
  bool looked_ = false;
  std::size_t slots_ = 0;     // of all that may be given something
  std::size_t in_flight_ = 0; // batches
  std::size_t running_ = 0;   // elements in these
  std::size_t drawn_ = 0;
  std::size_t done_ = 0;
  std::size_t failures_ = 0;
  bool all_drawn_ = false;
  std::deque<share> again_;
  std::multimap<clock::time_point, share> delayed_;
  std::unordered_map<std::size_t, int> tries_;         // of elements that have failed
  std::map<std::size_t, std::size_t> behind_;          // done, but something before them isn't: first and end
  std::size_t first_undone_ = 0;
  double item_time_ = 0; // seconds; 0: not known
  double item_bytes_ = 0;
  std::size_t largest_ = 0; // batch that was measured
  bool stopping_ = false;
  std::exception_ptr error_;
  std::vector<error_info> deaths_;
};

// -- where answers arrive ---------------------------------------------------------------------------------------------------------

void map_run::engine::arrivals::put(batch* b) {
  std::lock_guard guard{mutex_};
  all_.push_back(b);
  if (waiting_ != nullptr)
    waiting_->notify();
}

void map_run::engine::arrivals::stir() {
  std::lock_guard guard{mutex_};
  stirred_ = true;
  if (waiting_ != nullptr)
    waiting_->notify();
}

void map_run::engine::arrivals::wait(std::optional<clock::time_point> limit, bool soon) {
  auto& me = waiter::of_this_thread();
  me.reset();
  bool something = false;
  {
    std::lock_guard guard{mutex_};
    something = !all_.empty() || std::exchange(stirred_, false);
    if (!something)
      waiting_ = &me;
  }
  if (something)
    return this_task::check(); // who never has to wait is interrupted all the same
  struct leave {
    arrivals& a;
    ~leave() {
      std::lock_guard guard{a.mutex_};
      a.waiting_ = nullptr;
      a.stirred_ = false;
    }
  } leaving{*this};
  me.wait(limit, soon ? waiter::purpose::answer : waiter::purpose::time);
}

std::vector<map_run::batch*> map_run::engine::arrivals::take() {
  std::lock_guard guard{mutex_};
  return std::exchange(all_, {});
}

// -- the run ----------------------------------------------------------------------------------------------------------------------

map_run::engine::engine(map_run& of, settings s)
  : map_(of),
    settings_(std::move(s)),
    number_(last_number.fetch_add(1) + 1),
    deadline_(settings_.options.deadline ? std::optional{moment_after(*settings_.options.deadline)} : std::nullopt) {}

void map_run::engine::go() {
  waiter::check_may_block();
  const auto token = settings_.options.token ? settings_.options.token->state() : nullptr;
  std::uint64_t in_token = 0;
  if (token)
    in_token = token->add([a = arrivals_] { a->stir(); });
  struct leave {
    const std::shared_ptr<cancel_state>& token;
    std::uint64_t in_token;
    ~leave() {
      if (token)
        token->remove(in_token);
    }
  } leaving{token, in_token};
  try {
    run();
  } catch (const error& e) {
    abandon(e.info());
    end_on_members();
    throw;
  } catch (...) {
    abandon(make_error_info(error_kind::cancelled, settings_.label + " has ended"));
    end_on_members();
    throw;
  }
  end_on_members();
  if (error_)
    std::rethrow_exception(error_);
}

void map_run::engine::run() {
  check_limits();
  look_at_pool();
  while (true) {
    if (!stopping_)
      fill_all();
    if (in_flight_ == 0 && (stopping_ || !anything_left()))
      return;
    wait();
    check_limits();
    handle_arrived();
    look_at_pool();
  }
}

bool map_run::engine::anything_left() const { return !all_drawn_ || !again_.empty() || !delayed_.empty(); }

void map_run::engine::wait() {
  auto limit = deadline_;
  if (!stopping_ && !delayed_.empty() && (!limit || delayed_.begin()->first < *limit))
    limit = delayed_.begin()->first;
  arrivals_->wait(limit, answers_soon());
}

bool map_run::engine::answers_soon() const {
  const auto batch = item_time_ * static_cast<double>(running_) / static_cast<double>(std::max<std::size_t>(1, in_flight_));
  return batch < worth_polling * static_cast<double>(std::max<std::size_t>(1, slots_));
}

void map_run::engine::check_limits() {
  const auto& o = settings_.options;
  if (o.token && o.token->cancelled())
    throw_error(make_error_info(error_kind::cancelled, settings_.label + " was cancelled by its caller"));
  if (deadline_ && clock::now() >= *deadline_)
    throw_error(make_error_info(error_kind::deadline_exceeded, settings_.label + " has not ended within its deadline of "
                                                                 + std::to_string(std::chrono::duration<double>{*o.deadline}.count())
                                                                 + " s"));
}

// -- who does it --------------------------------------------------------------------------------------------------------------------

map_run::engine::member& map_run::engine::member_of(proc_id id) {
  for (auto& m : members_)
    if (m->id == id)
      return *m;
  members_.push_back(std::make_unique<member>());
  members_.back()->id = id;
  return *members_.back();
}

// Takes what the pool has told, and asks for what comes next.
void map_run::engine::look_at_pool() {
  if (stopping_)
    return;
  if (!settings_.pool.valid()) {
    auto& self = member_of(runtime::get().id());
    self.listed = true;
    self.slots = static_cast<std::size_t>(settings_.tasks);
    return;
  }
  if (!view_) {
    view_ = settings_.pool.ask_view(0);
    view_->when_here([a = arrivals_] { a->stir(); });
    while (!view_->ready()) {
      arrivals_->wait(deadline_, true);
      check_limits();
    }
  }
  while (view_->ready()) {
    view_->throw_if_failed();
    take_view(worker_pool::view_of(*view_));
    view_ = settings_.pool.ask_view(version_);
    view_->when_here([a = arrivals_] { a->stir(); });
  }
  if (custom_)
    take_custom();
}

void map_run::engine::take_view(const pool_view& view) {
  version_ = view.version;
  custom_ = view.custom;
  const bool first = !std::exchange(looked_, true);
  if (first && view.members.empty())
    throw_error(
      make_error_info(error_kind::no_workers, settings_.label + ": the pool has no member that lives; give it one with pool.push(id)"));
  if (custom_)
    return;
  const bool all_taken = std::all_of(view.members.begin(), view.members.end(), [](auto& m) { return m.taken >= m.slots; });
  for (auto& m : members_)
    m->listed = false;
  for (auto& x : view.members) {
    const bool known = std::any_of(members_.begin(), members_.end(), [&](auto& m) { return m->id == x.id; });
    // that is the default pool when its last worker has gone: no reason for the master to go the same way
    if (!first && !known && x.id == master_id && view.members.size() == 1)
      continue;
    auto& m = member_of(x.id);
    m.listed = all_taken || x.taken < x.slots;
    m.slots = static_cast<std::size_t>(std::max(1, all_taken ? x.slots : x.slots - x.taken));
  }
}

// A pool of the user's own says itself who is next: members have as many slots as were taken.
void map_run::engine::take_custom() {
  if (taking_ && taking_->ready()) {
    const auto id = worker_pool::taken_of(*taking_);
    taking_ = nullptr;
    auto& m = member_of(id);
    if (!std::exchange(m.listed, true))
      m.slots = 0;
    ++m.slots;
  }
  if (!taking_ && (!again_.empty() || may_draw())) {
    taking_ = settings_.pool.ask_take();
    taking_->when_here([a = arrivals_] { a->stir(); });
  }
}

void map_run::engine::give_back(member& m) {
  --m.slots;
  settings_.pool.give_back(m.id);
}

void map_run::engine::check_members() {
  if (custom_ || stopping_ || in_flight_ > 0 || !anything_left())
    return;
  if (std::any_of(members_.begin(), members_.end(), [](auto& m) { return m->listed && !m->gone; }))
    return;
  auto why = make_error_info(error_kind::no_workers, settings_.label + " has lost all its workers");
  for (auto& d : deaths_)
    why.message += (why.parts.empty() ? ": " : "; ") + d.message, why.parts.push_back(d);
  fail(make_exception(why));
}

// -- who gets what ----------------------------------------------------------------------------------------------------------------

void map_run::engine::fill_all() {
  const auto now = clock::now();
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    again_.push_back(delayed_.begin()->second);
    delayed_.erase(delayed_.begin());
  }
  slots_ = 0;
  for (auto& m : members_)
    if (m->listed && !m->gone)
      slots_ += m->slots;
  // one for each in turn, so that a few elements don't all go to one
  for (bool given = true; given && !stopping_;) {
    given = false;
    for (auto& m : members_)
      given = give(*m) || given;
  }
  if (custom_)
    for (auto& m : members_)
      while (m->slots > m->out.size())
        give_back(*m);
  if (custom_ && !stopping_
      && !taking_) // what was to be tried again later, or has come back from one that is gone, may have nobody who does it
    take_custom();
  check_members();
}

// How many batches it may have.
std::size_t map_run::engine::most_out(const member& m) const {
  if (custom_ || m.bytes > most_bytes_ahead || !settings_.pool.valid())
    return m.slots;
  if (settings_.ahead)
    return m.slots + static_cast<std::size_t>(*settings_.ahead);
  if (item_time_ == 0 || settings_.resubmit == 0)
    return m.slots;
  const auto time = std::max(item_time_ * static_cast<double>(std::max<std::size_t>(1, size_of_next())), 1e-7);
  // what lies in front of a worker at the end, others can't take
  if (all_drawn_ && time > batch_time)
    return m.slots;
  return m.slots + std::clamp<std::size_t>(static_cast<std::size_t>(std::ceil(ahead_time / time)), 1, most_ahead);
}

bool map_run::engine::give(member& m) {
  if (!m.listed || m.gone || m.alone || m.out.size() >= most_out(m))
    return false;
  const auto s = next_share(m);
  if (!s)
    return false;
  auto owned = std::make_unique<batch>();
  auto& b = *owned;
  b.first = s->first;
  b.count = s->count;
  b.to = m.id;
  b.alone = s->alone;
  b.deaths = s->deaths;
  m.begun = true;
  m.alone = s->alone && !custom_;
  m.out.push_back(std::move(owned));
  try {
    map_.send(b);
  } catch (const process_exited& e) {
    if (b.reply)
      throw;
    m.out.pop_back();
    again(*s, true);
    m.gone = true;
    deaths_.push_back(e.info());
    map_.lost(m.id);
    return true;
  } catch (...) {
    if (b.reply) // this thread was told to stop while it waited for room; what has come of the call doesn't matter, but needs the batch
      throw;
    m.out.pop_back();
    fail(std::current_exception());
    return false;
  }
  m.bytes += b.bytes;
  if (b.bytes > 0) {
    const auto each = static_cast<double>(b.bytes) / static_cast<double>(b.count);
    item_bytes_ = item_bytes_ == 0 ? each : 0.7 * item_bytes_ + 0.3 * each;
  }
  ++in_flight_;
  running_ += b.count;
  return true;
}

bool map_run::engine::may_draw() const { return !all_drawn_ && drawn_ - first_undone_ < map_.window(); }

std::optional<map_run::engine::share> map_run::engine::next_share(const member& m) {
  const auto others = [&] {
    return std::any_of(members_.begin(), members_.end(), [&](auto& x) { return x.get() != &m && x->listed && !x->gone; });
  };
  for (auto i = again_.begin(); i != again_.end(); ++i) {
    if (!custom_ && ((i->avoid == m.id && others()) || (i->alone && !m.out.empty()))) // a pool of the user's own has the say
      continue;
    auto out = std::move(*i);
    again_.erase(i);
    return out;
  }
  if (!may_draw())
    return std::nullopt;
  std::size_t n = 0;
  try {
    n = map_.draw(std::min(size_of_next(), map_.window() - (drawn_ - first_undone_)));
  } catch (...) {
    all_drawn_ = true;
    fail(std::current_exception());
    return std::nullopt;
  }
  if (n == 0) {
    all_drawn_ = true;
    return std::nullopt;
  }
  share out{drawn_, n};
  drawn_ += n;
  if (settings_.total && drawn_ >= *settings_.total)
    all_drawn_ = true;
  return out;
}

std::size_t map_run::engine::size_of_next() const {
  if (settings_.batch_size > 0)
    return std::min(settings_.batch_size, largest_count);
  if (item_time_ == 0 || settings_.resubmit == 0) // which element it was, when a worker dies, must be known at once

    return 1;
  const auto items_in = [&](double time) { return time / std::max(item_time_, 1e-10); };
  auto n = std::min({items_in(batch_time), static_cast<double>(largest_ * most_growth), static_cast<double>(largest_count)});
  if (item_bytes_ > 0)
    n = std::min(n, most_batch_bytes / item_bytes_);
  if (settings_.total) {
    const auto left = static_cast<double>(*settings_.total - std::min(*settings_.total, drawn_));
    n = std::min(n, std::max(left / (4.0 * static_cast<double>(std::max<std::size_t>(1, slots_))), items_in(least_batch_time)));
  }
  return std::max<std::size_t>(1, static_cast<std::size_t>(n));
}

void map_run::engine::again(share s, bool in_front) {
  if (in_front)
    again_.push_front(s);
  else
    again_.push_back(s);
}

// -- what comes back ----------------------------------------------------------------------------------------------------------------

void map_run::engine::expect(batch& b, std::shared_ptr<batch_reply> reply) {
  b.reply = std::move(reply);
  b.reply->when_here([a = arrivals_, p = &b] { a->put(p); });
}

void map_run::engine::handle_arrived() {
  for (auto b : arrivals_->take())
    finished(*b);
}

void map_run::engine::finished(batch& b) {
  auto& m = member_of(b.to);
  const auto why = b.reply->failure();
  // what a function has waited for on another process may have gone with that
  const bool died = why != nullptr && why->kind == error_kind::process_exited && why->pid == m.id;
  if (died && !m.gone) {
    m.gone = true;
    deaths_.push_back(*why);
    map_.lost(m.id);
  }
  const auto at = std::find_if(m.out.begin(), m.out.end(), [&](auto& x) { return x.get() == &b; });
  const auto place = static_cast<std::size_t>(at - m.out.begin());
  auto owned = std::move(*at);
  // who has gone keeps its list, which tells what it was working on
  if (!m.gone)
    m.out.erase(at);
  m.bytes -= b.bytes;
  m.alone = false;
  --in_flight_;
  running_ -= b.count;
  b.lent.reset();
  if (why == nullptr) {
    batch_report r;
    try {
      r = map_.take(b);
    } catch (...) {
      r.tried = static_cast<std::uint32_t>(b.count);
      fail(std::current_exception());
    }
    measure(r);
    if (r.tried < b.count && !stopping_)
      again({b.first + r.tried, b.count - r.tried}, true);
  } else if (stopping_) {
    // it isn't done, and won't be
  } else if (died) {
    lost_with(m, b, place, *why);
  } else if (why->kind == error_kind::interrupted) { // whoever does that means the map, not an element
    fail(make_exception(*why));
  } else if (b.count == 1) {
    failed(b.first, *why, m.id);
  } else if (why->kind == error_kind::not_decodable || why->kind == error_kind::process_exited) { // which of them?
    for (std::size_t i = 0; i < b.count; ++i)
      again({b.first + i, 1}, false);
  } else {
    fail(make_exception(*why));
  }
  if (custom_)
    give_back(m);
  try {
    map_.progressed(status());
  } catch (...) {
    fail(std::current_exception());
  }
}

// Of what a process had, answers may have been lost with it: which element it was at isn't known, unless it had one. What it had is given again, each part alone, and divided where it is
// known that the element is in it.
void map_run::engine::lost_with(member& m, batch& b, std::size_t place, const error_info& why) {
  if (settings_.resubmit == 0) {
    if (place >= m.slots)
      return again({b.first, b.count}, true);
    for (std::size_t i = 0; i < b.count && !stopping_; ++i)
      lost_element(b.first + i, {m.id}, why);
    return;
  }
  auto deaths = b.deaths;
  deaths.push_back(m.id);
  if (b.count == 1 && static_cast<int>(deaths.size()) > settings_.resubmit)
    return lost_element(b.first, deaths, why);
  ++failures_;
  const bool suspect = b.alone || place == 0;
  const auto part = suspect ? (b.count + most_parts - 1) / most_parts : b.count;
  for (std::size_t at = 0; at < b.count; at += part)
    again({b.first + at, std::min(part, b.count - at), 0, true, deaths}, false);
}

void map_run::engine::lost_element(std::size_t item, const std::vector<proc_id>& deaths, const error_info& why) {
  ++failures_;
  auto told = why;
  told.pids = deaths;
  if (settings_.resubmit > 0)
    told.message = std::to_string(deaths.size()) + " workers have ended while they were at this element of " + settings_.label + ": "
                   + list_of(deaths) + ". The last: " + why.message;
  failed(item, std::move(told), deaths.back(), true);
}

void map_run::engine::failed(std::size_t item, error_info why, proc_id where, bool worker_died) {
  if (stopping_)
    return;
  why.item = item;
  const bool no_more = worker_died && settings_.resubmit > 0;
  if (!worker_died)
    ++failures_;
  const auto tries = ++tries_[item];
  std::exception_ptr thrown;
  try {
    if (map_.handle(item, why, thrown))
      return done_with(item, 1);
    if (!no_more)
      if (const auto delay = map_.retry_after(item, thrown, tries)) {
        delayed_.emplace(moment_after(*delay), share{item, 1, where});
        return;
      }
  } catch (...) {
    thrown = std::current_exception();
  }
  fail(thrown);
}

void map_run::engine::measure(const batch_report& r) {
  if (r.tried == 0)
    return;
  const auto each = std::max(1e-10, 1e-9 * static_cast<double>(r.nanoseconds) / r.tried);
  item_time_ = item_time_ == 0 ? each : 0.6 * item_time_ + 0.4 * each;
  largest_ = std::max<std::size_t>(largest_, r.tried);
}

// -- what is done -------------------------------------------------------------------------------------------------------------------

void map_run::engine::done_with(std::size_t first, std::size_t count) {
  if (count == 0)
    return;
  done_ += count;
  map_.release(first, count);
  for (std::size_t i = 0; i < count && !tries_.empty(); ++i)
    tries_.erase(first + i);
  auto end = first + count;
  if (first != first_undone_) {
    auto next = behind_.lower_bound(first);
    if (next != behind_.begin() && std::prev(next)->second == first) {
      --next;
      next->second = end;
    } else {
      next = behind_.emplace_hint(next, first, end);
    }
    if (const auto after = std::next(next); after != behind_.end() && after->first == end) {
      next->second = after->second;
      behind_.erase(after);
    }
    return;
  }
  if (const auto i = behind_.find(end); i != behind_.end()) {
    end = i->second;
    behind_.erase(i);
  }
  first_undone_ = end;
}

bool map_run::engine::is_done(std::size_t item) const {
  if (item < first_undone_)
    return true;
  const auto i = behind_.upper_bound(item);
  return i != behind_.begin() && item < std::prev(i)->second;
}

map_status map_run::engine::status() const { return {done_, running_, failures_, settings_.total}; }

// -- the end ------------------------------------------------------------------------------------------------------------------------

void map_run::engine::fail(std::exception_ptr why) {
  if (std::exchange(stopping_, true))
    return;
  error_ = std::move(why);
  stop();
}

// Elements that have begun end; no others begin.
void map_run::engine::stop() {
  for (auto& m : members_)
    if (!m->gone && !m->out.empty() && settings_.pool.valid())
      tell<stop_map_here>(m->id, number_);
  map_.stopped();
}

// At once: what runs is told to stop, and not waited for.
void map_run::engine::abandon(const error_info& why) {
  auto rt = runtime::find();
  stopping_ = true;
  map_.stopped();
  for (auto& m : members_)
    for (auto& b : m->out)
      if (b && b->reply && rt != nullptr)
        rt->give_up(m->id, b->reply->open_call().number, why);
}

void map_run::engine::end_on_members() {
  if (custom_)
    for (auto& m : members_)
      while (m->slots > 0)
        give_back(*m);
  for (auto& m : members_)
    if (m->begun && !m->gone && settings_.pool.valid())
      tell<end_map_here>(m->id, number_);
}

// -- what those see who derive from it ------------------------------------------------------------------------------------------------

map_run::map_run(settings s) : engine_(std::make_unique<engine>(*this, std::move(s))) {}

map_run::~map_run() = default;

void map_run::go() { engine_->go(); }

bool map_run::is_done(std::size_t item) const { return engine_->is_done(item); }

std::size_t map_run::window() const { return ~std::size_t{0}; }

void map_run::failed(std::size_t item, error_info why, proc_id where) { engine_->failed(item, std::move(why), where); }

void map_run::done_with(std::size_t first, std::size_t count) { engine_->done_with(first, count); }

void map_run::expect(batch& b, std::shared_ptr<batch_reply> reply) { engine_->expect(b, std::move(reply)); }

std::uint64_t map_run::number() const { return engine_->number(); }

bool map_run::answers_soon() const { return engine_->answers_soon(); }

std::size_t map_run::slots() const { return engine_->slots(); }

} // namespace troupe::detail
