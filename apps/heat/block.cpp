#include "heat/block.hpp"

#include "heat/picture.hpp"

#include <utility>

namespace heat {

namespace {

std::array<caf::actor, 4> neighbours_of(const troupe::element<block>& here) {
  return {here.neighbour(-1, 0), here.neighbour(1, 0), here.neighbour(0, -1), here.neighbour(0, 1)};
}

side_set sides_with(const std::array<caf::actor, 4>& neighbours) {
  side_set out;
  for (const auto s : all_sides)
    if (neighbours[static_cast<std::size_t>(s)])
      out.add(s);
  return out;
}

area own_area(const troupe::element<block>& here, std::int64_t size) {
  const auto number = [](auto n) { return static_cast<std::int64_t>(n); };
  return area_of({number(here.extents()[0]), number(here.extents()[1])}, size, number(here.index()[0]), number(here.index()[1]));
}

} // namespace

block::block(caf::actor_config& cfg, troupe::element<block> here, const problem& p)
  : caf::event_based_actor(cfg),
    size_(p.size),
    neighbours_(neighbours_of(here)),
    cells_(own_area(here, p.size), sides_with(neighbours_), p.ratio,
           [&](auto row, auto column) { return initial_value(p.size, row, column); }) {}

caf::behavior block::make_behavior() {
  return {
    [this](const advance& m) {
      until_ = m.until;
      arrival_ = make_response_promise();
      auto answer = *arrival_;
      go_on();
      return answer;
    },
    [this](const halo& m) {
      cells_.bring(m.steps, m.where, m.cells);
      go_on();
    },
    [this](ask_change) { return cells_.largest_change(); },
    [this](ask_checksum) { return cells_.checksum(size_); },
    [this](ask_picture) { return sample(cells_, size_); },
  };
}

void block::on_exit() {
  arrival_.reset(); // which holds this actor, as neighbours hold each other: without an end to that, none would be freed
  neighbours_ = {};
}

void block::go_on() {
  while (cells_.steps() < until_) {
    if (!std::exchange(interior_is_done_, true))
      cells_.compute_interior();
    if (!cells_.ready())
      return; // the next halo goes on
    cells_.finish_step();
    interior_is_done_ = false;
    send_edges(); // they are on their way while the next interior is computed
  }
  if (arrival_)
    std::exchange(arrival_, std::nullopt)->deliver(caf::unit);
}

void block::send_edges() {
  for (const auto s : all_sides)
    if (const auto& neighbour = neighbours_[static_cast<std::size_t>(s)])
      send(neighbour, halo{cells_.steps(), opposite(s), cells_.edge(s)});
}

} // namespace heat
