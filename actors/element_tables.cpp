#include "troupe/actors/element_tables.hpp"

#include "troupe/actors/array_part.hpp"
#include "troupe/actors/element_stub.hpp"
#include "troupe/actors/runtime.hpp"

#include <caf/all.hpp>

#include <mutex>
#include <utility>

namespace troupe {

element_tables::element_tables(runtime& rt) : runtime_(rt) {
}

element_tables::~element_tables() = default;

void element_tables::declare(array_info info) {
  const auto number = info.number;
  const auto part = std::make_shared<array_part>(std::make_shared<const array_info>(std::move(info)), runtime_);
  std::unique_lock guard{mutex_};
  if (!parts_.try_emplace(number, part).second)
    throw usage_error{part->info()->to_text() + " is on process " + std::to_string(runtime_.id()) + " already"};
}

std::shared_ptr<array_part> element_tables::find_array(std::uint64_t number) const {
  std::shared_lock guard{mutex_};
  const auto i = parts_.find(number);
  return i == parts_.end() ? nullptr : i->second;
}

caf::strong_actor_ptr element_tables::find(element_id which) {
  const auto part = find_array(which.array);
  return part ? part->find(which.position) : nullptr;
}

caf::strong_actor_ptr element_tables::handle(const array_info& info, std::size_t position) {
  const element_id which{info.number, position};
  const auto where = info.layout.where(position);
  if (where != runtime_.id())
    return runtime_.hub().actor_at(where, which.actor());
  if (auto here = find(which))
    return here;
  auto ended = make_stub(which); // answers whoever asks, as a proxy of one that has ended elsewhere does
  static_cast<element_stub*>(ended->get())->kill_proxy(nullptr, caf::exit_reason::unknown);
  return ended;
}

caf::strong_actor_ptr element_tables::make_stub(element_id which) const {
  caf::actor_config config;
  auto& system = runtime_.system();
  return caf::make_actor<element_stub, caf::strong_actor_ptr>(which.actor(), system.node(), &system, config);
}

void element_tables::end(std::uint64_t number) {
  std::shared_ptr<array_part> part;
  {
    std::unique_lock guard{mutex_};
    if (const auto i = parts_.find(number); i != parts_.end()) {
      part = std::move(i->second);
      parts_.erase(i);
    }
  }
  if (part)
    part->end(caf::exit_reason::user_shutdown);
}

std::vector<std::shared_ptr<array_part>> element_tables::all() const {
  std::vector<std::shared_ptr<array_part>> out;
  std::shared_lock guard{mutex_};
  for (auto& [number, part] : parts_)
    out.push_back(part);
  return out;
}

void element_tables::end_all() {
  for (auto& part : all())
    part->end(caf::exit_reason::kill);
}

void element_tables::peer_lost(proc_id id) {
  for (auto& part : all())
    part->peer_lost(id);
}

std::uint64_t element_tables::next_number() {
  const auto n = last_number_.fetch_add(1) + 1;
  if (n >= element_id::most_arrays)
    throw usage_error{"this cluster has made " + std::to_string(element_id::most_arrays - 1) + " arrays: no more can be told apart"};
  return n;
}

} // namespace troupe
