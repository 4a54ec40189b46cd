#include "troupe/actors/caching_pool.hpp"

namespace troupe {

namespace {

[[noreturn]] void refuse() {
  throw codec_error{"a caching_pool can't be sent to another process, which couldn't know what it remembers: pass it as a worker_pool"};
}

} // namespace

void caching_pool::remember() { attach(std::make_shared<detail::function_store>()); }

void codec<caching_pool>::write(writer&, const caching_pool&) { refuse(); }

void codec<caching_pool>::read(reader&, caching_pool&) { refuse(); }

std::size_t caching_pool::cached() const {
  const auto store = detail::function_store_of(*this);
  return store ? store->size() : 0;
}

void clear(const worker_pool& pool) {
  if (const auto store = detail::function_store_of(pool))
    store->clear();
}

std::shared_ptr<detail::function_store> detail::function_store_of(const worker_pool& pool) {
  return std::static_pointer_cast<detail::function_store>(pool.attachment());
}

} // namespace troupe
