#include "troupe/actors/loop_shares.hpp"

#include "troupe/actors/local_task.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/splitting.hpp"
#include "troupe/transport/log.hpp"

#include <algorithm>
#include <cstdio>
#include <string>

namespace troupe::detail {

namespace {

// A worker that has as much to do as this begins its next share without waiting for us.
constexpr std::size_t ahead = 2;

bool is_limit(const error_info& why) { return why.kind == error_kind::deadline_exceeded || why.kind == error_kind::cancelled; }

} // namespace

// -- the division -----------------------------------------------------------------------------------------------------------

loop_division::loop_division(std::uint64_t n, std::size_t workers, std::int64_t chunk) : n_(n) {
  if (chunk < 0)
    throw_too_few("loop_options: chunk", chunk, 0);
  if (chunk > 0) {
    size_ = static_cast<std::uint64_t>(chunk);
    count_ = n / size_ + (n % size_ != 0);
  } else {
    count_ = std::min<std::uint64_t>(n, workers);
    size_ = count_ == 0 ? 0 : n / count_;
    larger_ = count_ == 0 ? 0 : n % count_;
  }
}

// -- the shares -------------------------------------------------------------------------------------------------------------

call_options limits_of(const loop_options& options, std::optional<future_state::time_point> until) {
  call_options out;
  out.token = options.token;
  if (until)
    out.deadline = *until - std::chrono::steady_clock::now();
  return out;
}

loop_shares::loop_shares(const loop_options& options, std::vector<proc_id> workers, std::uint64_t count, begin_share begin)
  : options_(options), count_(count), begin_(std::move(begin)), needed_(count) {
  if (options.resubmit < 0)
    throw_too_few("loop_options: resubmit", options.resubmit, 0);
  if (options.deadline)
    until_ = moment_after(*options.deadline);
  for (auto id : workers)
    places_.push_back({id});
}

loop_shares::~loop_shares() {
  for (auto& s : open_)
    cancel_call(*s.state);
}

call_options loop_shares::limits() const { return limits_of(options_, until_); }

void loop_shares::send_to(std::size_t place, std::uint64_t share, int lost) {
  try {
    open_.push_back({share, place, lost, begin_(places_[place].id, share, limits())});
    ++places_[place].open;
  } catch (const process_exited& e) {
    lose(place, share, lost, e.info());
  }
}

// A worker is gone, and a share with it.
void loop_shares::lose(std::size_t place, std::uint64_t share, int lost, const error_info& why) {
  places_[place].gone = true;
  if (share >= needed_)
    return;
  const bool others = std::any_of(places_.begin(), places_.end(), [](auto& p) { return !p.gone; });
  if (lost < options_.resubmit && others)
    again_.push_back({share, lost + 1});
  else
    failed_.push_back({share, nullptr, why});
}

std::optional<std::size_t> loop_shares::least_busy(std::size_t room) const {
  std::optional<std::size_t> out;
  for (std::size_t i = 0; i < places_.size(); ++i)
    if (!places_[i].gone && places_[i].open < room && (!out || places_[i].open < places_[*out].open))
      out = i;
  return out;
}

void loop_shares::send() {
  if (options_.chunk == 0)
    while (next_ < count_) {
      const auto share = next_++;
      send_to(static_cast<std::size_t>(share % places_.size()), share, 0);
    }
  while (next_ < count_ || !again_.empty()) {
    // towards the end nobody has two while others have none
    const bool many = count_ - next_ > places_.size() * ahead;
    const auto to = least_busy(options_.chunk == 0 ? open_.size() + 1 : many ? ahead : 1);
    if (!to)
      break;
    if (!again_.empty()) {
      const auto first = std::min_element(again_.begin(), again_.end(), [](auto& a, auto& b) { return a.share < b.share; });
      const auto s = *first;
      again_.erase(first);
      send_to(*to, s.share, s.lost);
    } else {
      send_to(*to, next_++, 0);
    }
  }
  if (open_.empty()) { // nobody is left to do the rest
    for (auto& s : again_)
      failed_.push_back(
        {s.share, nullptr, make_error_info(error_kind::process_exited, "all workers of the loop are gone", places_.front().id)});
    again_.clear();
    next_ = count_;
  }
}

std::vector<loop_shares::ended> loop_shares::next() {
  send();
  std::vector<ended> out;
  while (out.empty() && failed_.empty() && !open_.empty()) {
    std::vector<std::shared_ptr<future_state>> states;
    states.reserve(open_.size());
    for (auto& s : open_)
      states.push_back(s.state);
    wait_for_any(states);
    std::vector<open_share> done;
    std::erase_if(open_, [&](auto& s) {
      if (!s.state->ready())
        return false;
      done.push_back(std::move(s));
      return true;
    });
    for (auto& s : done) {
      auto& where = places_[s.place];
      --where.open;
      const auto why = s.state->failure();
      if (why != nullptr && why->kind == error_kind::process_exited && why->pid == where.id)
        lose(s.place, s.share, s.lost, *why);
      else if (s.share < needed_)
        out.push_back({s.share, s.state, why == nullptr ? std::nullopt : std::optional{*why}});
    }
    send();
  }
  out.insert(out.end(), std::make_move_iterator(failed_.begin()), std::make_move_iterator(failed_.end()));
  failed_.clear();
  return out;
}

void loop_shares::cut(std::uint64_t k) {
  needed_ = std::min(needed_, k);
  next_ = count_;
  const auto unneeded = [&](auto& s) { return s.share >= needed_; };
  std::erase_if(again_, unneeded);
  std::erase_if(failed_, unneeded);
  for (auto& s : open_)
    if (unneeded(s))
      cancel_call(*s.state);
}

std::vector<loop_shares::ended> loop_shares::release() {
  std::vector<ended> out = std::exchange(failed_, {});
  for (auto& s : std::exchange(open_, {}))
    out.push_back({s.share, s.state, std::nullopt});
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.share < b.share; });
  return out;
}

// -- the future of a loop without a result ----------------------------------------------------------------------------------

void loop_state::end(std::vector<error_info> errors) {
  if (errors.empty()) {
    set();
    return;
  }
  error_info why;
  if (std::all_of(errors.begin(), errors.end(), is_limit)) {
    why = std::move(errors.front());
  } else {
    why.kind = error_kind::composite;
    why.parts = std::move(errors);
  }
  if (set_error(std::move(why)))
    print_unless_heard();
}

void loop_state::cancel() {
  if (ready())
    return;
  for (auto& p : parts_)
    cancel_call(*p);
  future_state::cancel();
}

void loop_state::dropped() {
  if (!settled())
    unheard_ = true;
  print_unless_heard();
  future_state::dropped();
}

void loop_state::print_unless_heard() {
  const auto why = failure();
  if (why == nullptr || !unheard_ || is_limit(*why) || published() || printed_.exchange(true))
    return;
  const auto& first = why->parts.empty() ? *why : why->parts.front();
  const auto others = why->parts.size() > 1 ? " (and " + std::to_string(why->parts.size() - 1) + " other shares failed)" : std::string{};
  const error e{first};
  const bool thrown = !e.type_name().empty();
  const auto where = thrown ? "on process " + std::to_string(first.pid) + ": " : std::string{};
  const auto what = thrown ? e.type_name() + ": " + e.message() : std::string{e.what()};
  log(log_level::error, "a distributed_for that nobody waits for failed: " + where + what + others);
}

namespace {

// Several threads, one for each share.
struct loop_errors {
  std::vector<std::optional<error_info>> by_share;
  std::atomic<std::size_t> left;

  std::vector<error_info> all() const {
    std::vector<error_info> out;
    for (auto& why : by_share)
      if (why)
        out.push_back(*why);
    return out;
  }
};

void finish_without_task(loop_shares& shares, const std::shared_ptr<loop_state>& out) {
  const auto all = shares.release();
  const auto errors = std::make_shared<loop_errors>();
  errors->by_share.resize(all.size());
  errors->left = all.size() + 1;
  const auto one_has_ended = [errors, out] {
    if (errors->left.fetch_sub(1) == 1)
      out->end(errors->all());
  };
  std::vector<std::shared_ptr<future_state>> parts;
  for (auto& s : all)
    if (s.state)
      parts.push_back(s.state);
  out->works_with(std::move(parts));
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (const auto state = all[i].state) {
      state->when_here([state = state.get(), errors, one_has_ended, i] {
        if (const auto why = state->failure())
          errors->by_share[i] = *why;
        one_has_ended();
      });
    } else {
      errors->by_share[i] = all[i].why;
      one_has_ended();
    }
  }
  one_has_ended();
}

std::vector<error_info> run_to_the_end(loop_shares& shares) {
  std::vector<std::pair<std::uint64_t, error_info>> errors;
  for (auto some = shares.next(); !some.empty(); some = shares.next())
    for (auto& s : some)
      if (s.why) {
        errors.emplace_back(s.share, std::move(*s.why));
        shares.send_no_more();
      }
  std::sort(errors.begin(), errors.end(), [](auto& a, auto& b) { return a.first < b.first; });
  std::vector<error_info> out;
  for (auto& e : errors)
    out.push_back(std::move(e.second));
  return out;
}

} // namespace

void finish_loop(std::shared_ptr<loop_shares> shares, const std::shared_ptr<loop_state>& out) {
  if (shares->settled())
    return finish_without_task(*shares, out);
  const auto state = begin_local_task(nullptr, [shares = std::move(shares), out] { out->end(run_to_the_end(*shares)); }).shared_state();
  out->works_with({state});
  state->when_here([state = state.get(), out] {
    if (const auto why = state->failure())
      out->end({*why});
  });
}

// -- errors -------------------------------------------------------------------------------------------------------------------

void rethrow_as_task(const std::string& label) {
  auto info = describe_current_exception();
  if (info.kind == error_kind::process_exited || info.kind == error_kind::interrupted || is_limit(info))
    throw_error(std::move(info));
  if (info.kind != error_kind::remote || info.pid != 0) {
    error_info outer;
    outer.kind = error_kind::remote;
    outer.parts.push_back(std::move(info));
    info = std::move(outer);
  }
  info.pid = own_id();
  info.host = runtime::get().host();
  info.task = label;
  throw_error(std::move(info));
}

void throw_empty_range(const char* what) {
  throw_error(make_error_info(error_kind::empty_range, std::string{what} + " of nothing has no value"));
}

} // namespace troupe::detail
