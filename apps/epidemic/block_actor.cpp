#include "epidemic/block_actor.hpp"

#include <algorithm>
#include <utility>

namespace epidemic {

namespace {

/// Hands the days up to the asked one over, if they are over.
void answer(block_self* self) {
  auto& state = self->state;
  if (!state.answer || state.day < state.asked)
    return;
  const std::size_t places = state.model->residents().size();
  const auto end = state.rows.begin()
                   + static_cast<std::ptrdiff_t>((state.asked + 1 - state.first_kept) * places);
  results r{{state.rows.begin(), end}, state.messages};
  state.rows.erase(state.rows.begin(), end);
  state.first_kept = state.asked + 1;
  std::exchange(state.answer, std::nullopt)->deliver(std::move(r));
}

caf::typed_response_promise<results> on_collect(block_self* self, const collect& m) {
  auto& state = self->state;
  auto promise = self->make_response_promise<results>();
  if (state.answer || m.first != state.first_kept || m.last < m.first) {
    promise.deliver(caf::make_error(caf::sec::invalid_argument, "collect: days out of order"));
    return promise;
  }
  state.answer = promise;
  state.asked = m.last;
  answer(self);
  return promise;
}

/// Gives each block its part of `items`, sorted by the place that `where` names, as a Message, and this one
/// its own.
template <class Message, class Item, class Receive>
void hand_out(block_self* self, std::uint32_t day, const std::vector<Item>& items, std::uint32_t Item::*where,
              Receive receive) {
  auto& state = self->state;
  std::vector<Message> parts(state.blocks.size(), Message{day, {}});
  for (const auto& item : items)
    parts[state.parts.block_of(item.*where)].all.push_back(item);
  for (std::size_t b = 0; b < parts.size(); ++b) {
    if (b == state.index) {
      receive(state, parts[b]);
      continue;
    }
    self->send(state.blocks[b], std::move(parts[b]));
    ++state.messages;
  }
}

void receive_visits(block_state& state, const visits& m) {
  auto& box = state.boxes[m.day];
  box.arrivals.insert(box.arrivals.end(), m.all.begin(), m.all.end());
  ++box.arrivals_from;
}

void receive_exposures(block_state& state, const exposures& m) {
  auto& box = state.boxes[m.day];
  box.exposed.insert(box.exposed.end(), m.all.begin(), m.all.end());
  ++box.exposed_from;
}

/// One phase further, if what it needs is here; false if it is not.
bool step(block_self* self) {
  auto& state = self->state;
  auto& model = *state.model;
  const auto today = state.day + 1;
  switch (state.now) {
    case block_state::phase::night:
      if (state.day >= state.until)
        return false;
      hand_out<visits>(self, today, model.depart(today), &visit::to, receive_visits);
      state.now = block_state::phase::day;
      return true;
    case block_state::phase::day:
      if (state.boxes[today].arrivals_from < state.blocks.size())
        return false;
      hand_out<exposures>(self, today, model.mix(today, state.boxes[today].arrivals), &exposure::home,
                          receive_exposures);
      state.now = block_state::phase::evening;
      return true;
    case block_state::phase::evening:
      if (state.boxes[today].exposed_from < state.blocks.size())
        return false;
      model.settle(today, state.boxes[today].exposed);
      state.boxes.erase(today);
      state.rows.insert(state.rows.end(), model.residents().begin(), model.residents().end());
      state.day = today;
      state.now = block_state::phase::night;
      answer(self);
      return true;
  }
  return false;
}

void go_on(block_self* self) {
  while (step(self)) {
  }
}

} // namespace

caf::behavior block_actor(block_self* self, const troupe::element<block_self>& me, const scenario& s) {
  auto& state = self->state;
  state.index = me.index();
  state.parts = partition{s.places.size(), me.extents()};
  const auto all = me.array();
  for (std::size_t b = 0; b < all.size(); ++b)
    state.blocks.push_back(all[b]);
  state.model.emplace(s, state.parts.first(state.index), state.parts.last(state.index));
  state.rows = state.model->residents();
  return {
    [self](const run_until& m) {
      self->state.until = std::max(self->state.until, m.day);
      go_on(self);
    },
    [self](const visits& m) {
      receive_visits(self->state, m);
      go_on(self);
    },
    [self](const exposures& m) {
      receive_exposures(self->state, m);
      go_on(self);
    },
    [self](const collect& m) { return on_collect(self, m); },
  };
}

} // namespace epidemic
