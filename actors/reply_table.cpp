#include "troupe/actors/reply_table.hpp"

namespace troupe {

// A number is the slot's generation and its index: a slot that is used again gives another number.
std::uint64_t reply_table::add(proc_id to, entry waiting) {
  std::lock_guard guard{mutex_};
  std::uint32_t index;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  auto& s = slots_[index];
  s.to = to;
  s.waiting = std::move(waiting);
  return (std::uint64_t{s.generation} << 32) | index;
}

// Needs mutex_. Null if the call isn't open.
const reply_table::slot* reply_table::open_slot(std::uint64_t number) const {
  const auto index = static_cast<std::uint32_t>(number);
  if (index >= slots_.size())
    return nullptr;
  auto& s = slots_[index];
  return s.to != 0 && s.generation == static_cast<std::uint32_t>(number >> 32) ? &s : nullptr;
}

reply_table::entry reply_table::find(std::uint64_t number) const {
  std::lock_guard guard{mutex_};
  const auto s = open_slot(number);
  return s != nullptr ? s->waiting : nullptr;
}

reply_table::entry reply_table::take(std::uint64_t number) {
  const auto index = static_cast<std::uint32_t>(number);
  std::lock_guard guard{mutex_};
  if (open_slot(number) == nullptr)
    return nullptr;
  auto& s = slots_[index];
  s.to = 0;
  if (++s.generation == 0)
    s.generation = 1;
  free_.push_back(index);
  return std::move(s.waiting);
}

void reply_table::fail_all(proc_id to, const error_info& why) {
  std::vector<entry> ended;
  {
    std::lock_guard guard{mutex_};
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      auto& s = slots_[i];
      if (s.to != to)
        continue;
      ended.push_back(std::move(s.waiting));
      s.to = 0;
      if (++s.generation == 0)
        s.generation = 1;
      free_.push_back(i);
    }
  }
  for (auto& e : ended)
    e->set_error(why);
}

std::size_t reply_table::size() const {
  std::lock_guard guard{mutex_};
  return slots_.size() - free_.size();
}

} // namespace troupe
