#include "troupe/actors/array_creation.hpp"

#include "troupe/actors/runtime.hpp"

namespace troupe::detail {

namespace {

std::uint64_t new_array_number() { return runtime::get().elements().next_number(); }

} // namespace

array_info plan_array(const array_extents& n, const placement& where, const std::vector<proc_id>& workers, std::string label,
                      std::uint64_t type) {
  auto& rt = runtime::get();
  const auto check = [&](proc_id id) {
    check_process(id);
    if (id != rt.id())
      if (const auto barred = rt.net().barred(id))
        throw_error(*barred);
  };
  array_info out;
  out.layout = array_layout{n, where, workers, check};
  out.label = std::move(label);
  out.type = type;
  out.number = rt.id() == master_id ? new_array_number() : begin_call(master_id, {}, direct([] { return new_array_number(); })).get();
  return out;
}

caf::actor_system& system_here() { return runtime::get().system(); }

void make_elements(std::uint64_t array,
                   const std::function<caf::strong_actor_ptr(const std::shared_ptr<const array_info>&, element_birth&)>& make) {
  const auto part = runtime::get().elements().find_array(array);
  if (!part)
    throw usage_error{"array " + std::to_string(array) + " was ended before its elements were made"};
  part->make_all([&](element_birth& b) { return make(part->info(), b); });
}

void declare_elements::operator()(const array_info& info) const { runtime::get().elements().declare(info, creator); }

proc_id creator_here() {
  const auto id = runtime::get().id();
  return id == master_id ? 0 : id;
}

void commit_array(const array_info& info) {
  if (creator_here() == 0)
    return;
  for (auto id : info.layout.hosts())
    begin_call(id, {.flags = call_no_reply}, direct([](std::uint64_t number) { runtime::get().elements().commit(number); }), info.number);
}

} // namespace troupe::detail
