#include "troupe/managers/rank_output.hpp"

#include "troupe/actors/begin_call.hpp"
#include "troupe/actors/call_options.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/managers/rank_keeper.hpp"

#include <atomic>
#include <chrono>
#include <utility>

namespace troupe {

namespace {

using namespace std::chrono_literals;

constexpr auto begin_time = 5s;
// How long the last lines may take: a handler is slow, perhaps.
constexpr auto end_time = 5s;
// The same where the master hasn't asked for them.
constexpr auto leave_time = 500ms;

std::atomic<rank_output*> the_output{nullptr};

// Of a rank: it leaves.
cancel_token& leaving() {
  static auto& token = *new cancel_token; // its thread may outlive the static objects
  return token;
}

// Those that have gone, or don't answer in time, have nothing more to say.
template <class F>
void tell(const std::vector<proc_id>& ranks, F f, std::chrono::milliseconds limit) {
  std::vector<future<void>> told;
  for (auto id : ranks)
    try {
      told.push_back(detail::begin_call(id, {.flags = detail::call_kept}, f));
    } catch (const error&) {
      // it has just gone
    }
  const auto until = std::chrono::steady_clock::now() + limit;
  for (auto& t : told)
    try {
      t.wait_for(until - std::chrono::steady_clock::now());
    } catch (const error&) {
      // as above
    }
}

} // namespace

rank_output::rank_output(std::function<void(proc_id, std::string_view)> on_line) : on_line_(std::move(on_line)) { the_output = this; }

rank_output::~rank_output() { the_output = nullptr; }

void rank_output::begin(const std::vector<proc_id>& ranks) { tell(ranks, fn<&rank_output::forward_here>, begin_time); }

void rank_output::end(const std::vector<proc_id>& ranks) { tell(ranks, fn<&rank_output::stop_here>, end_time); }

void rank_output::take(proc_id from, const std::vector<std::string>& lines) {
  if (const auto here = the_output.load())
    for (auto& line : lines)
      here->on_line_(from, line);
}

void rank_output::forward_here() {
  const auto keeper = rank_keeper::of_process();
  if (keeper == nullptr)
    return;
  keeper->forward([](const std::vector<std::string>& lines) {
    try {
      const call_options options{.token = leaving()};
      detail::begin_call(master_id, {.flags = detail::call_kept, .options = &options}, fn<&rank_output::take>, runtime::get().id(), lines)
        .get();
      return true;
    } catch (const error&) {
      return false;
    }
  });
}

void rank_output::stop_here() {
  if (const auto keeper = rank_keeper::of_process())
    keeper->stop_forwarding(end_time);
}

void rank_output::leave() {
  const auto keeper = rank_keeper::of_process();
  if (keeper == nullptr)
    return;
  keeper->stop_forwarding(leave_time);
  leaving().cancel();
  keeper->stop_forwarding(leave_time);
}

} // namespace troupe
