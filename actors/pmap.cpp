#include "troupe/actors/pmap.hpp"

namespace troupe::detail {

namespace {

void refuse_negative(const char* name, std::int64_t x, std::int64_t least = 0) {
  if (x < least)
    throw usage_error{std::string{"pmap_options: "} + name + " is " + std::to_string(x) + ", and must be at least "
                      + std::to_string(least)};
}

} // namespace

map_run::settings map_settings(const call_options* options, worker_pool pool, bool distributed, const map_numbers& n,
                               std::optional<std::size_t> total, const std::string& label) {
  refuse_negative("batch_size", n.batch_size);
  refuse_negative("ahead", n.ahead.value_or(0));
  refuse_negative("resubmit", n.resubmit);
  refuse_negative("tasks", n.tasks, 1);
  map_run::settings out;
  out.pool = std::move(pool);
  out.tasks = n.tasks;
  out.batch_size = distributed ? static_cast<std::size_t>(n.batch_size) : 1;
  out.ahead = n.ahead;
  out.resubmit = n.resubmit;
  out.total = total;
  if (options != nullptr)
    out.options = *options;
  out.label = "the map of " + label;
  return out;
}

void throw_options_of_other_result() {
  throw usage_error{"pmap_options<> with on_error: say what the map's function returns, pmap_options<R>"};
}

void throw_map_has_ended() { throw_error(make_error_info(error_kind::cancelled, "the map that this task belongs to has ended")); }

void throw_range_changed(std::size_t before, std::size_t now) {
  throw usage_error{"a range had " + std::to_string(before) + " elements when its map began, and has " + std::to_string(now)
                    + " now: what the map calls, or another thread, must not change it"};
}

error error_of(const std::exception_ptr& p) {
  try {
    std::rethrow_exception(p);
  } catch (const error& e) {
    return e;
  } catch (...) {
    return error{describe_current_exception()};
  }
}

void rethrow_with(const std::exception_ptr& why, std::shared_ptr<const void> results) {
  try {
    std::rethrow_exception(why);
  } catch (const error& e) {
    auto info = e.info();
    info.attached = std::move(results);
    throw_error(std::move(info));
  }
}

const map_remains* remains_of(const error& e, std::uint64_t type) {
  const auto found = static_cast<const map_remains*>(e.info().attached.get());
  if (found != nullptr && found->type != type)
    throw_error(make_error_info(error_kind::type_mismatch,
                                "the map's results are of type " + type_tag_name(found->type) + ", not " + type_tag_name(type)));
  return found;
}

} // namespace troupe::detail
