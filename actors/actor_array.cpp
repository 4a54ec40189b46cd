#include "troupe/actors/actor_array.hpp"

#include "troupe/actors/array_part.hpp"
#include "troupe/actors/collectives.hpp"
#include "troupe/actors/runtime.hpp"

namespace troupe::detail {

std::shared_ptr<const array_info> shared_info(array_info info) {
  if (const auto rt = runtime::find())
    if (const auto part = rt->elements().find_array(info.number))
      return part->info();
  return std::make_shared<const array_info>(std::move(info));
}

caf::actor element_handle(const array_info& info, std::size_t position) {
  return caf::actor_cast<caf::actor>(runtime::get().elements().handle(info, position));
}

namespace {

// Each process itself: those that are gone have no elements.
template <class F>
void tell_hosts(const array_info& info, F f) {
  collective_calls<void> calls;
  for (auto id : info.layout.hosts())
    calls.begin([&] { return begin_call(id, {}, direct(f), info.number); });
  for (auto& c : calls.calls())
    if (c.valid())
      c.shared_state()->wait();
}

} // namespace

void end_array(const array_info& info) {
  const auto state = std::make_shared<typed_future_state<void>>();
  try {
    begin_array_operation(info, array_ask::end, nullptr, state, 0, [](writer&) {}, {});
    state->value();
  } catch (const process_exited&) { // there is no order left to be kept
    tell_hosts(info, [](std::uint64_t number) { runtime::get().elements().end(number); });
  } catch (const usage_error& e) {
    if (e.pid() == 0)
      throw;
    // it had ended before
  }
}

void give_up_array(const array_info& info) noexcept {
  try {
    tell_hosts(info, [](std::uint64_t number) { runtime::get().elements().give_up(number); });
  } catch (const std::exception&) {
    // what can't be reached from here is nobody's: see element_tables::declare
  }
}

void throw_empty_array() { throw usage_error{"an empty actor_array: it was default-constructed, or moved from"}; }

void throw_other_elements(const array_info& info, const std::string& wanted) {
  throw_error(make_error_info(error_kind::type_mismatch, info.to_text() + " is read as an array of " + wanted));
}

std::optional<std::size_t> neighbour_position(const array_info& info, std::size_t of, std::span<const std::int64_t> offsets) {
  const auto& extents = info.layout.extents();
  if (offsets.size() != extents.size())
    throw usage_error{"neighbour with " + std::to_string(offsets.size()) + (offsets.size() == 1 ? " offset" : " offsets")
                      + " in an array of " + to_string(extents) + " elements: give one for each dimension"};
  const auto at = array_index::at(of, extents);
  std::size_t position = 0;
  for (std::size_t d = 0; d < extents.size(); ++d) {
    const auto size = static_cast<std::int64_t>(extents[d]);
    const auto here = static_cast<std::int64_t>(at[d]);
    if (offsets[d] < -here || offsets[d] >= size - here)
      return std::nullopt;
    position = position * extents[d] + static_cast<std::size_t>(here + offsets[d]);
  }
  return position;
}

} // namespace troupe::detail
