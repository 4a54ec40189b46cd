#include "troupe/actors/call_options.hpp"

#include <utility>

namespace troupe::detail {

void cancel_state::cancel() {
  std::map<std::uint64_t, std::function<void()>> all;
  {
    std::lock_guard guard{functions_mutex_};
    set_value({});
    all.swap(functions_);
  }
  for (auto& [id, f] : all)
    f();
}

std::uint64_t cancel_state::add(std::function<void()> f) {
  std::unique_lock lock{functions_mutex_};
  if (!ready()) {
    functions_.emplace(++last_, std::move(f));
    return last_;
  }
  lock.unlock();
  f();
  return 0;
}

void cancel_state::remove(std::uint64_t which) {
  std::function<void()> forgotten; // destroyed without the lock
  std::lock_guard guard{functions_mutex_};
  if (auto i = functions_.find(which); i != functions_.end()) {
    forgotten.swap(i->second);
    functions_.erase(i);
  }
}

std::size_t cancel_state::size() const {
  std::lock_guard guard{functions_mutex_};
  return functions_.size();
}

} // namespace troupe::detail

namespace troupe {

cancel_token::cancel_token() : state_(std::make_shared<detail::cancel_state>()) {}

} // namespace troupe
