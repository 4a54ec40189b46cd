#include "troupe/actors/reply_table.hpp"

#include <bit>
#include <thread>
#include <unordered_map>

namespace troupe {

namespace {

constexpr std::size_t batch = 64; // of slots that a thread gets, or gives back, at once
// In a number: somebody reads what waits for it.
constexpr std::uint64_t looked_at = std::uint64_t{1} << 63;

// The tables that exist, for threads that end after one of them, or before.
struct live_tables {
  std::mutex mutex; // a table's own is taken under it
  std::unordered_map<std::uint64_t, reply_table*> by_serial;
  std::uint64_t last = 0;
};

live_tables& live() {
  static auto all = new live_tables; // threads may end after the static objects have
  return *all;
}

// The block that a slot lies in: of `first` slots, of twice as many, and so on.
struct place {
  std::size_t block;
  std::size_t index;
};

constexpr place place_of(std::uint32_t index, std::size_t first) {
  const auto n = std::uint64_t{index} / first + 1;
  const auto block = static_cast<std::size_t>(std::bit_width(n)) - 1;
  return {block, index - ((std::size_t{1} << block) - 1) * first};
}

} // namespace

/// The free slots of a thread, of one table at a time.
class reply_table::free_slots {
public:
  ~free_slots() { leave(); }

  std::vector<std::uint32_t>& of(reply_table& t) {
    if (serial_ != t.serial_) {
      leave();
      serial_ = t.serial_;
    }
    return free_;
  }

private:
  void leave() {
    if (!free_.empty()) {
      auto& all = live();
      std::lock_guard guard{all.mutex};
      if (auto i = all.by_serial.find(serial_); i != all.by_serial.end())
        i->second->put_free_slots(free_, 0);
    }
    free_.clear();
  }

  std::uint64_t serial_ = 0;
  std::vector<std::uint32_t> free_;
};

reply_table::free_slots& reply_table::of_this_thread() {
  thread_local free_slots slots;
  return slots;
}

reply_table::reply_table()
  : serial_([this] {
      auto& all = live();
      std::lock_guard guard{all.mutex};
      all.by_serial[++all.last] = this;
      return all.last;
    }()) {}

reply_table::~reply_table() {
  auto& all = live();
  std::lock_guard guard{all.mutex};
  all.by_serial.erase(serial_);
}

reply_table::slot* reply_table::slot_at(std::uint32_t index) const {
  const auto p = place_of(index, first_block);
  if (p.block >= most_blocks)
    return nullptr;
  const auto block = blocks_[p.block].load(std::memory_order_acquire);
  return block == nullptr ? nullptr : block + p.index;
}

void reply_table::get_free_slots(std::vector<std::uint32_t>& out) {
  std::lock_guard guard{mutex_};
  if (free_.empty()) {
    const auto n = owned_.size();
    const auto size = first_block << n;
    const auto begin = static_cast<std::uint32_t>((first_block << n) - first_block);
    owned_.push_back(std::make_unique<slot[]>(size));
    blocks_.at(n).store(owned_.back().get(), std::memory_order_release);
    for (auto i = size; i > 0; --i)
      free_.push_back(begin + static_cast<std::uint32_t>(i - 1));
  }
  const auto n = std::min(batch, free_.size());
  out.assign(free_.end() - static_cast<std::ptrdiff_t>(n), free_.end());
  free_.resize(free_.size() - n);
}

void reply_table::put_free_slots(std::vector<std::uint32_t>& in, std::size_t kept) {
  std::lock_guard guard{mutex_};
  free_.insert(free_.end(), in.begin() + static_cast<std::ptrdiff_t>(kept), in.end());
  in.resize(kept);
}

std::uint32_t reply_table::take_free_slot() {
  auto& mine = of_this_thread().of(*this);
  if (mine.empty())
    get_free_slots(mine);
  const auto index = mine.back();
  mine.pop_back();
  return index;
}

void reply_table::give_back(std::uint32_t index) {
  auto& mine = of_this_thread().of(*this);
  mine.push_back(index);
  if (mine.size() >= 2 * batch)
    put_free_slots(mine, batch);
}

// A number is the slot's generation and its index: a slot that is used again gives another number.
std::uint64_t reply_table::add(proc_id to, entry waiting) {
  const auto index = take_free_slot();
  auto& s = *slot_at(index);
  s.generation = s.generation == 0x7fffffff ? 1 : s.generation + 1;
  s.waiting = std::move(waiting);
  s.to.store(to, std::memory_order_relaxed);
  const auto number = (std::uint64_t{s.generation} << 32) | index;
  s.key.store(number); // before the caller looks whether the process is gone, which is marked before fail_all looks here
  return number;
}

// Whether the open call with this number is the calling thread's now, which then sets another key.
bool reply_table::claim(slot& s, std::uint64_t number) {
  while (true) {
    auto expected = number;
    if (s.key.compare_exchange_weak(expected, number | looked_at, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
    if (expected != number && expected != (number | looked_at))
      return false;
    std::this_thread::yield(); // another looks at it, for a moment
  }
}

// The slot of an open call, claimed; null if there is no such call.
reply_table::slot* reply_table::claimed(std::uint64_t number) {
  const auto s = slot_at(static_cast<std::uint32_t>(number));
  const bool possible = number != 0 && (number & looked_at) == 0 && s != nullptr;
  return possible && claim(*s, number) ? s : nullptr;
}

reply_table::entry reply_table::find(std::uint64_t number) {
  const auto s = claimed(number);
  if (s == nullptr)
    return nullptr;
  auto found = s->waiting;
  s->key.store(number, std::memory_order_release);
  return found;
}

reply_table::entry reply_table::take(std::uint64_t number) {
  const auto s = claimed(number);
  if (s == nullptr)
    return nullptr;
  auto taken = std::move(s->waiting);
  s->key.store(0, std::memory_order_release);
  give_back(static_cast<std::uint32_t>(number));
  return taken;
}

void reply_table::fail_all(proc_id to, const error_info& why) {
  for (std::size_t b = 0; b < most_blocks; ++b) {
    const auto block = blocks_[b].load(std::memory_order_acquire);
    if (block == nullptr)
      return;
    for (auto s = block; s != block + (first_block << b); ++s) {
      const auto number = s->key.load() & ~looked_at;
      if (number != 0 && s->to.load(std::memory_order_relaxed) == to)
        if (auto waiting = take(number))
          waiting->set_error(why);
    }
  }
}

std::size_t reply_table::size() const {
  std::size_t n = 0;
  for (std::size_t b = 0; b < most_blocks; ++b)
    if (const auto block = blocks_[b].load(std::memory_order_acquire))
      for (auto s = block; s != block + (first_block << b); ++s)
        n += s->key.load(std::memory_order_relaxed) != 0 ? 1 : 0;
  return n;
}

} // namespace troupe
