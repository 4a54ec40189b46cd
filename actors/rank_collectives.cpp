#include "troupe/actors/rank_collectives.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>

namespace troupe {

namespace {

std::atomic<rank_exchange*> the_exchange{nullptr};

} // namespace

rank_exchange* rank_exchange::current() { return the_exchange; }

void rank_exchange::set_current(rank_exchange* x) { the_exchange = x; }

namespace detail {

namespace {

rank_exchange& links_of_this_rank() {
  if (const auto x = rank_exchange::current())
    return *x;
  throw usage_error{"this process is no rank of an MPI job"};
}

} // namespace

rank_part::rank_part(const rank_group& group, std::size_t place) : group_(group), place_(place), links_(links_of_this_rank()) {
  if (place >= group.ranks.size())
    throw usage_error{"place " + std::to_string(place) + " of a group of " + std::to_string(group.ranks.size()) + " ranks"};
}

rank_part::~rank_part() {
  if (!complete_)
    links_.leave(group_.number);
}

void rank_part::throw_no_whole_number(std::size_t size, std::size_t element) const {
  throw_error(make_error_info(error_kind::interrupted, "a rank at place " + std::to_string(place_) + " of a collective got "
                                                         + std::to_string(size) + " bytes, which is no whole number of elements of "
                                                         + std::to_string(element)));
}

void throw_others_failed() { throw_error(make_error_info(error_kind::cancelled, "another rank of the collective has failed")); }

void rank_calls::add(std::shared_ptr<future_state> call) { calls_.push_back(std::move(call)); }

void rank_calls::add_failed() {
  auto failed = std::make_shared<future_state>();
  failed->set_error(describe_current_exception());
  add(std::move(failed));
}

rank_calls::~rank_calls() {
  for (auto& c : calls_)
    if (!c->ready())
      cancel_call(*c);
}

void rank_calls::wait() {
  std::vector<std::optional<error_kind>> errors(calls_.size());
  auto open = calls_;
  while (!open.empty()) {
    wait_for_any(open);
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      const auto found = std::find(open.begin(), open.end(), calls_[i]);
      if (found == open.end() || !calls_[i]->ready())
        continue;
      open.erase(found);
      try {
        calls_[i]->throw_if_failed();
      } catch (const error& e) {
        errors[i] = e.kind();
        if (e.kind() != error_kind::remote && e.kind() != error_kind::cancelled)
          for (auto& c : open)
            if (!c->ready())
              cancel_call(*c);
      }
    }
  }
  const auto own = [](auto& e) { return e && *e != error_kind::cancelled; };
  auto first = std::find_if(errors.begin(), errors.end(), own);
  if (first == errors.end())
    first = std::find_if(errors.begin(), errors.end(), [](auto& e) { return e.has_value(); });
  if (first != errors.end())
    calls_[static_cast<std::size_t>(first - errors.begin())]->throw_if_failed();
}

} // namespace detail

} // namespace troupe
