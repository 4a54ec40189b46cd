// Bytes that grow without being zeroed or moved one at a time.

#define BOOST_TEST_MODULE byte_buffer
#include <boost/test/unit_test.hpp>

#include "troupe/transport/byte_buffer.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

using troupe::byte_buffer;

BOOST_AUTO_TEST_CASE(what_is_appended_is_all_there_across_every_growth_and_into_bulk_memory) {
  byte_buffer bytes;
  std::vector<std::byte> same;
  for (std::size_t i = 0; same.size() < 3 * troupe::bulk_memory::least; ++i) {
    const std::vector<std::byte> more(i % 5 == 0 ? i * 7 : i, static_cast<std::byte>(i * 31));
    append(bytes, more);
    same.insert(same.end(), more.begin(), more.end());
  }
  BOOST_TEST(std::equal(bytes.begin(), bytes.end(), same.begin(), same.end()));
}

BOOST_AUTO_TEST_CASE(to_extend_returns_where_the_new_bytes_begin) {
  byte_buffer bytes = troupe::copy_of(std::vector(3, std::byte{7}));
  const auto at = extend(bytes, 2);
  BOOST_TEST(bytes.size() == 5U);
  BOOST_TEST(static_cast<const void*>(at) == bytes.data() + 3);
  BOOST_TEST((bytes[0] == std::byte{7} && bytes[2] == std::byte{7}));
  const auto enough = bytes.capacity();
  BOOST_TEST(extend(bytes, 0) == bytes.data() + 5);
  BOOST_TEST(bytes.capacity() == enough);
}

BOOST_AUTO_TEST_CASE(a_copy_of_nothing_is_empty) {
  BOOST_TEST(troupe::copy_of({}).empty());
  byte_buffer bytes;
  append(bytes, {});
  BOOST_TEST(bytes.empty());
}
