#include "epidemic/block_actor.hpp"

#include <algorithm>
#include <utility>

namespace epidemic {

block_actor::block_actor(caf::actor_config& cfg, const troupe::element<block_actor>& me, const scenario& s)
  : caf::event_based_actor(cfg),
    parts_(s.places.size(), me.extents()),
    index_(me.index()),
    model_(s, parts_.first(index_), parts_.last(index_)),
    rows_(model_.residents()) {
  for (std::size_t b = 0; b < parts_.blocks(); ++b)
    blocks_.push_back(me.array()[b]);
}

caf::behavior block_actor::make_behavior() {
  return {
    [this](const advance& m) {
      asked_ = m.report;
      until_ = std::max(until_, m.until);
      const auto promise = answer_ = make_response_promise<results>();
      answer();
      go_on();
      return promise;
    },
    [this](const parcel<visit>& p) {
      arrivals_.add(p);
      go_on();
    },
    [this](const parcel<exposure>& p) {
      exposed_.add(p);
      go_on();
    },
  };
}

void block_actor::on_exit() {
  blocks_.clear(); // which hold each other, as the promise holds this one
  answer_ = {};
}

template <class Item>
void block_actor::inbox<Item>::add(const parcel<Item>& p) {
  auto& today = days[p.day];
  today.all.insert(today.all.end(), p.all.begin(), p.all.end());
  ++today.from;
}

/// Gives each block its part of them by the place that `where` names, and this one its own.
template <class Item>
void block_actor::hand_out(inbox<Item>& own, std::uint32_t day, const std::vector<Item>& all, std::uint32_t Item::* where) {
  std::vector<parcel<Item>> parts(blocks_.size(), parcel<Item>{day, {}});
  for (const auto& x : all)
    parts[parts_.block_of(x.*where)].all.push_back(x);
  own.add(parts[index_]);
  for (std::size_t b = 0; b < parts.size(); ++b)
    if (b != index_)
      send(blocks_[b], std::move(parts[b]));
  messages_ += parts.size() - 1;
}

/// As far as what has come allows.
void block_actor::go_on() {
  for (; day_ < until_; answer()) {
    const auto today = day_ + 1;
    if (!std::exchange(departed_, true))
      hand_out(arrivals_, today, model_.depart(today), &visit::to);
    if (!mixed_ && arrivals_.days[today].from < blocks_.size())
      return;
    if (!std::exchange(mixed_, true))
      hand_out(exposed_, today, model_.mix(today, arrivals_.days[today].all), &exposure::home);
    if (exposed_.days[today].from < blocks_.size())
      return;
    model_.settle(today, exposed_.days[today].all);
    rows_.insert(rows_.end(), model_.residents().begin(), model_.residents().end());
    arrivals_.days.erase(today);
    exposed_.days.erase(today);
    departed_ = mixed_ = false;
    day_ = today;
  }
}

/// If somebody asks, and what is asked for is over.
void block_actor::answer() {
  if (!answer_.pending() || day_ < asked_)
    return;
  const auto end = rows_.begin() + static_cast<std::ptrdiff_t>((asked_ + 1 - first_kept_) * model_.residents().size());
  answer_.deliver(results{{rows_.begin(), end}, messages_});
  rows_.erase(rows_.begin(), end);
  first_kept_ = asked_ + 1;
}

} // namespace epidemic
