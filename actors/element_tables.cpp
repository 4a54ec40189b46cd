#include "troupe/actors/element_tables.hpp"

#include "troupe/actors/array_operation.hpp"
#include "troupe/actors/array_part.hpp"
#include "troupe/actors/element_stub.hpp"
#include "troupe/actors/runtime.hpp"

#include <caf/all.hpp>

#include <mutex>
#include <utility>

namespace troupe {

element_tables::element_tables(runtime& rt) : runtime_(rt) {}

element_tables::~element_tables() = default;

void element_tables::declare(array_info info, proc_id creator) {
  const auto number = info.number;
  const auto part = std::make_shared<array_part>(std::make_shared<const array_info>(std::move(info)), runtime_, creator);
  {
    std::unique_lock guard{mutex_};
    if (given_up_.erase(number) != 0)
      throw usage_error{part->info()->to_text() + " was given up before it was made"};
    if (!parts_.try_emplace(number, part).second)
      throw usage_error{part->info()->to_text() + " is on process " + std::to_string(runtime_.id()) + " already"};
  }
  if (creator != 0 && runtime_.net().gone(creator))
    end(number);
}

void element_tables::commit(std::uint64_t number) {
  if (const auto part = find_array(number))
    part->commit();
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
  static_cast<element_stub*>(ended->get())->kill_proxy(nullptr, reason_of(which).value_or(caf::exit_reason::unknown));
  return ended;
}

caf::strong_actor_ptr element_tables::make_stub(element_id which) const {
  caf::actor_config config;
  auto& system = runtime_.system();
  return caf::make_actor<element_stub, caf::strong_actor_ptr>(which.actor(), system.node(), &system, config);
}

std::optional<caf::error> element_tables::reason_of(element_id which) {
  const auto part = find_array(which.array);
  return part ? part->reason_of(which.position) : caf::error{caf::exit_reason::user_shutdown};
}

std::shared_ptr<array_part> element_tables::take(std::uint64_t number) {
  std::unique_lock guard{mutex_};
  const auto i = parts_.find(number);
  if (i == parts_.end())
    return nullptr;
  auto out = std::move(i->second);
  parts_.erase(i);
  return out;
}

void element_tables::end(std::uint64_t number) {
  if (const auto part = take(number))
    part->end(caf::exit_reason::user_shutdown);
}

void element_tables::give_up(std::uint64_t number) {
  const auto part = take(number);
  if (part)
    return part->end(caf::exit_reason::user_shutdown);
  std::unique_lock guard{mutex_};
  given_up_.insert(number);
}

std::vector<std::shared_ptr<array_part>> element_tables::all() const {
  std::vector<std::shared_ptr<array_part>> out;
  std::shared_lock guard{mutex_};
  for (auto& [number, part] : parts_)
    out.push_back(part);
  return out;
}

void element_tables::end_all() {
  for (auto& p : operations([](auto&) { return true; }))
    static_cast<array_operation*>(p->get())->abandon();
  for (auto& part : all())
    part->end(caf::exit_reason::kill);
}

// -- operations -------------------------------------------------------------------------------------------------------------

void element_tables::open(array_operation& op) {
  std::lock_guard guard{operations_mutex_};
  if (operations_.insert(&op).second)
    caf::intrusive_ptr_add_ref(op.ctrl());
}

void element_tables::close(array_operation& op) {
  {
    std::lock_guard guard{operations_mutex_};
    if (operations_.erase(&op) == 0)
      return;
  }
  caf::intrusive_ptr_release(op.ctrl());
}

template <class Condition>
std::vector<caf::strong_actor_ptr> element_tables::operations(Condition wanted) const {
  std::vector<caf::strong_actor_ptr> out;
  std::lock_guard guard{operations_mutex_};
  for (auto op : operations_)
    if (wanted(*op))
      out.emplace_back(op->ctrl());
  return out;
}

void element_tables::element_ended(std::uint64_t array, std::size_t own, const caf::error& reason) {
  for (auto& p : operations([=](auto& op) { return op.array() == array; }))
    static_cast<array_operation*>(p->get())->element_ended(own, reason);
}

void element_tables::peer_lost(proc_id id, const error_info& why) {
  for (auto& p : operations([](auto&) { return true; }))
    static_cast<array_operation*>(p->get())->peer_lost(id, why);
  for (auto& part : all())
    if (part->creator() == id)
      end(part->info()->number);
}

void element_tables::stop(proc_id from, std::uint64_t question) {
  for (auto& p : operations([=](auto& op) { return op.asked_by() == from && op.question() == question; }))
    static_cast<array_operation*>(p->get())->abandon();
}

std::uint64_t element_tables::next_number() {
  const auto n = last_number_.fetch_add(1) + 1;
  if (n >= element_id::most_arrays)
    throw usage_error{"this cluster has made " + std::to_string(element_id::most_arrays - 1) + " arrays: no more can be told apart"};
  return n;
}

} // namespace troupe
