#pragma once

#include "troupe/actors/function_store.hpp"
#include "troupe/actors/worker_pool.hpp"

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>

namespace troupe {

/// @addtogroup loops
/// @{

/// A pool that remembers which functions its members have: a function that is called with it travels to each of them once, with its
/// captures and values, however often it is called. Two function objects are the same if they are of one type and compare equal (==;
/// captures of lambdas by their bytes; those that can't be compared by what they look like encoded, which takes that long for each call).
/// There they are called as const; one that can't be is copied for each call. It keeps the 64 functions that were called last.
///
/// It is a worker_pool, and can be used, copied and stored as one: what remembers is shared by all copies on this process. Copies that
/// travel do so as plain pools; a caching_pool itself can't be sent: a call with one throws not_serializable. The functions are forgotten,
/// here and on the members, by `clear`, and when the last copy on this process is gone.
class caching_pool : public worker_pool {
public:
  /// An empty handle.
  caching_pool() = default;

  /// A pool on this process, of these members; as worker_pool's.
  caching_pool(cluster& c, std::initializer_list<proc_id> ids, int slots = 1) : worker_pool(c, ids, slots) { remember(); }
  /// The same of any range of ids.
  template <detail::range_of_ids R>
  caching_pool(cluster& c, R&& ids, int slots = 1) : worker_pool(c, std::forward<R>(ids), slots) {
    remember();
  }

  /// How many functions it remembers. Doesn't block.
  std::size_t cached() const;

private:
  void remember();
};

/// Forgets the functions of a caching pool, here and on its members; the next calls send them again. Does nothing for another pool. Doesn't
/// block.
void clear(const worker_pool& pool);

/// See caching_pool.
template <>
struct codec<caching_pool> {
  [[noreturn]] static void write(writer&, const caching_pool&);
  [[noreturn]] static void read(reader&, caching_pool&);
};

namespace detail {

/// What a pool remembers of functions; null if it isn't a caching one of this process.
std::shared_ptr<function_store> function_store_of(const worker_pool& pool);

} // namespace detail

/// @}

} // namespace troupe
