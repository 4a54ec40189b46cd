#include "troupe/actors/type_tag.hpp"

#include <map>
#include <mutex>

namespace troupe::detail {

namespace {

struct tags {
  std::mutex mutex;
  std::map<std::uint64_t, std::string> names;
};

tags& all_tags() {
  static auto t = new tags; // tasks may outlive the static objects
  return *t;
}

} // namespace

std::uint64_t add_type_tag(const std::type_info& type) {
  auto name = demangle(type.name());
  const auto tag = hash_name(name) | 1;
  auto& all = all_tags();
  std::lock_guard guard{all.mutex};
  all.names.try_emplace(tag, std::move(name));
  return tag;
}

std::string type_tag_name(std::uint64_t tag) {
  auto& all = all_tags();
  std::lock_guard guard{all.mutex};
  const auto i = all.names.find(tag);
  return i == all.names.end() ? "another type" : i->second;
}

} // namespace troupe::detail
