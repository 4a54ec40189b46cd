#include "troupe/actors/function_store.hpp"

namespace troupe::detail {

void function_store::clear() {
  std::list<entry> garbage;
  std::lock_guard guard{mutex_};
  garbage.swap(all_);
}

std::size_t function_store::size() const {
  std::lock_guard guard{mutex_};
  return all_.size();
}

} // namespace troupe::detail
