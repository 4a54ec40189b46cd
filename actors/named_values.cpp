#include "troupe/actors/named_values.hpp"

#include <mutex>
#include <utility>

namespace troupe {

void named_values::put(version_ptr v) {
  version_ptr old;
  std::lock_guard guard{mutex_};
  auto& e = entries_[v->name];
  if (v->number <= e.number)
    return;
  e.number = v->number;
  old = std::exchange(e.value, std::move(v));
}

void named_values::drop(const std::vector<std::string>& names, std::uint64_t number) {
  std::vector<version_ptr> old;
  std::lock_guard guard{mutex_};
  for (auto& name : names) {
    auto& e = entries_[name]; // kept without a value: an older one may be on its way
    if (number <= e.number)
      continue;
    e.number = number;
    old.push_back(std::move(e.value));
  }
}

named_values::version_ptr named_values::newest(const std::string& name) const {
  std::shared_lock guard{mutex_};
  auto i = entries_.find(name);
  return i == entries_.end() ? nullptr : i->second.value;
}

std::uint64_t named_values::last_change(const std::string& name) const {
  std::shared_lock guard{mutex_};
  auto i = entries_.find(name);
  return i == entries_.end() ? 0 : i->second.number;
}

std::vector<std::string> named_values::names() const {
  std::shared_lock guard{mutex_};
  std::vector<std::string> out;
  for (auto& [name, e] : entries_)
    if (e.value)
      out.push_back(name);
  return out;
}

namespace {

thread_local constinit named_pins* current = nullptr;

} // namespace

// Made when a thread asks outside of tasks and handlers.
struct named_pins::of_thread {
  static named_pins& get() {
    thread_local named_pins pins{sees::newest};
    return pins;
  }
};

named_pins::named_pins(sees what) : sees_(what), outer_(current) { current = this; }

named_pins::~named_pins() { current = outer_; }

detail::named_version* named_pins::find(const named_values& all, const std::string& name) {
  auto& pins = current != nullptr ? *current : of_thread::get();
  if (!pins.held_)
    pins.held_ = std::make_unique<versions>();
  auto& held = *pins.held_;
  auto seen = held.find(name);
  if (seen != held.end() && pins.sees_ == sees::first)
    return seen->second.back().get();
  auto v = all.newest(name);
  if (!v)
    return nullptr;
  if (seen == held.end())
    seen = held.try_emplace(name).first;
  if (seen->second.empty() || seen->second.back() != v)
    seen->second.push_back(std::move(v));
  return seen->second.back().get();
}

} // namespace troupe
