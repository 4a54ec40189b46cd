#define BOOST_TEST_MODULE array_layout
#include "troupe/actors/array_info.hpp"
#include "troupe/transport/element_id.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <set>
#include <sstream>

namespace {

using troupe::array_extents;
using troupe::array_index;
using troupe::array_layout;
using troupe::placement;
using troupe::proc_id;
using troupe::usage_error;

void any(proc_id) {}

array_layout layout(const array_extents& n, const placement& how, std::vector<proc_id> workers) {
  return {n, how, std::move(workers), any};
}

std::string text_of(auto f) {
  try {
    f();
  } catch (const usage_error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

// Each position once, on one process, and both ways round.
void check_positions(const array_layout& x) {
  std::set<std::size_t> seen;
  for (auto id : x.hosts()) {
    const auto own = x.positions_on(id);
    BOOST_TEST(own.count() > 0u);
    for (std::size_t i = 0; i < own.count(); ++i) {
      BOOST_TEST(x.where(own[i]) == id);
      BOOST_TEST(own.own(own[i]) == i);
      BOOST_TEST((i == 0 || own[i] > own[i - 1]));
      BOOST_TEST(seen.insert(own[i]).second);
    }
    for (std::size_t p = 0; p < x.size(); ++p)
      BOOST_TEST((own.own(p) < own.count()) == (x.where(p) == id));
  }
  BOOST_TEST(seen.size() == x.size());
}

array_layout there_and_back(const array_layout& x) {
  troupe::byte_buffer bytes;
  troupe::writer out{bytes};
  x.write(out);
  troupe::reader in{bytes};
  auto back = array_layout::read(in);
  in.expect_end();
  return back;
}

} // namespace

BOOST_AUTO_TEST_CASE(extents_are_a_number_or_two_or_three) {
  const array_extents one{64};
  const array_extents two{4, 6};
  const array_extents three{2, 3L, 5U};
  BOOST_TEST(one == 64);
  BOOST_TEST(one.size() == 1u);
  BOOST_TEST(two == 24);
  BOOST_TEST(two[0] == 4u);
  BOOST_TEST(two[1] == 6u);
  BOOST_TEST(three.size() == 3u);
  BOOST_TEST(three == 30);
  BOOST_TEST((std::vector<std::size_t>(three.begin(), three.end()) == std::vector<std::size_t>{2, 3, 5}));
  BOOST_TEST((two == array_extents{4, 6}));
  BOOST_TEST(!(two == array_extents{6, 4}));
  BOOST_TEST(!(one == array_extents{64, 1}));
  BOOST_TEST(to_string(three) == "2 x 3 x 5");
}

BOOST_AUTO_TEST_CASE(an_array_needs_an_element_in_each_dimension_and_has_no_more_than_can_be_told_apart) {
  BOOST_TEST(text_of([] { array_extents{0}; }) == "an array of 0 elements: there must be at least one in each dimension");
  BOOST_TEST(text_of([] { array_extents{3, -1}; }) == "an array of 3 x -1 elements: there must be at least one in each dimension");
  BOOST_TEST(text_of([] { array_extents{~std::uint64_t{0}}; }).find("-1 elements") != std::string::npos);
  BOOST_TEST(text_of([] { array_extents{1 << 16, 1 << 16}; }) == "an array of 65536 x 65536 elements: there can be 2147483648 at most");
  BOOST_TEST(text_of([] { array_extents(std::int64_t{1} << 40, std::int64_t{1} << 40, 1); }).find("at most") != std::string::npos);
  BOOST_TEST(text_of([] { layout({}, placement::block, {2}); }) == "an array of 0 elements: there must be at least one in each dimension");
  BOOST_TEST((array_extents{1 << 16, 1 << 15} == troupe::element_id::most_elements));
}

BOOST_AUTO_TEST_CASE(an_index_is_a_position_or_as_many_numbers_as_there_are_dimensions) {
  const array_extents n{3, 4, 5};
  for (std::size_t p = 0; p < n; ++p) {
    const auto i = array_index::at(p, n);
    BOOST_TEST(i.size() == 3u);
    BOOST_TEST(i == p);
    BOOST_TEST(i.position_in(n) == p);
    BOOST_TEST((array_index{i[0], i[1], i[2]}.position_in(n) == p));
    BOOST_TEST(array_index{p}.position_in(n) == p);
  }
  BOOST_TEST((array_index::at(23, n) == array_index{1, 0, 3}));
  BOOST_TEST(to_string(array_index{1, 0, 3}) == "(1, 0, 3)");
  BOOST_TEST(to_string(array_index{7}) == "7");
  const array_index seven{7};
  BOOST_TEST(seven + 1 == 8u);
  BOOST_TEST(seven % 4 == 3u);
  BOOST_TEST(seven > -1);
  BOOST_TEST(seven < 8);
  BOOST_TEST(7 <= seven);
  std::ostringstream out;
  out << seven << ' ' << array_index::at(5, {2, 3});
  BOOST_TEST(out.str() == "7 5");
}

BOOST_AUTO_TEST_CASE(an_index_out_of_range_says_which_would_be_in_it) {
  const array_extents line{10};
  const array_extents plane{2, 3};
  BOOST_TEST(text_of([&] { static_cast<void>(array_index{10}.position_in(line)); })
             == "index 10 of an array of 10 elements: there are 0 to 9");
  BOOST_TEST(text_of([&] { static_cast<void>(array_index{-1}.position_in(line)); })
             == "index -1 of an array of 10 elements: there are 0 to 9");
  BOOST_TEST(text_of([&] { static_cast<void>(array_index{1, 3}.position_in(plane)); })
             == "index (1, 3) of an array of 2 x 3 elements: number 2 must be 0 to 2");
  BOOST_TEST(text_of([&] { static_cast<void>(array_index{1, 2}.position_in(line)); })
             == "index (1, 2) of an array of 10 elements: it has 2 dimensions, the array 1");
  BOOST_TEST(text_of([] { static_cast<void>(static_cast<std::size_t>(array_index{1, 2})); }).find("(1, 2) is no number")
             != std::string::npos);
}

BOOST_AUTO_TEST_CASE(blocks_are_contiguous_and_differ_in_size_by_one) {
  const auto x = layout(11, placement::block, {2, 3, 5});
  std::vector<proc_id> where;
  for (std::size_t i = 0; i < x.size(); ++i)
    where.push_back(x.where(i));
  BOOST_TEST((where == std::vector<proc_id>{2, 2, 2, 2, 3, 3, 3, 3, 5, 5, 5}));
  check_positions(x);
}

BOOST_AUTO_TEST_CASE(cyclic_elements_go_to_the_processes_in_turn) {
  const auto x = layout(7, placement::cyclic, {4, 2, 3});
  std::vector<proc_id> where;
  for (std::size_t i = 0; i < x.size(); ++i)
    where.push_back(x.where(i));
  BOOST_TEST((where == std::vector<proc_id>{4, 2, 3, 4, 2, 3, 4}));
  check_positions(x);
}

BOOST_AUTO_TEST_CASE(fewer_elements_than_processes_leave_some_without) {
  for (auto& how : {placement::block, placement::cyclic}) {
    const auto x = layout(2, how, {2, 3, 4, 5});
    BOOST_TEST((x.hosts() == std::vector<proc_id>{2, 3}));
    BOOST_TEST(x.positions_on(4).count() == 0u);
    check_positions(x);
  }
}

BOOST_AUTO_TEST_CASE(all_placements_of_all_small_arrays_put_each_element_once) {
  for (int n = 1; n <= 13; ++n)
    for (int p = 1; p <= 5; ++p) {
      std::vector<proc_id> workers;
      for (int i = 0; i < p; ++i)
        workers.push_back(2 + i);
      check_positions(layout(n, placement::block, workers));
      check_positions(layout(n, placement::cyclic, workers));
      check_positions(
        layout(n, placement::custom([p](std::size_t i) { return static_cast<proc_id>(2 + i * i % static_cast<std::size_t>(p)); }), {}));
    }
}

BOOST_AUTO_TEST_CASE(a_custom_function_takes_an_index_or_its_numbers) {
  const auto by_position = layout(6, placement::custom([](int i) { return i < 2 ? 9 : 4; }), {2});
  BOOST_TEST((by_position.hosts() == std::vector<proc_id>{9, 4}));
  const auto by_index = layout({2, 3}, placement::custom([](const array_index& i) { return 2 + static_cast<proc_id>(i[1]); }), {});
  const auto by_numbers = layout({2, 3}, placement::custom([](int, int j) { return 2 + j; }), {});
  const auto by_three = layout({2, 3, 2}, placement::custom([](int, int j, int k) { return 2 + j * k; }), {});
  for (std::size_t p = 0; p < 6; ++p) {
    BOOST_TEST(by_index.where(p) == static_cast<proc_id>(2 + p % 3));
    BOOST_TEST(by_numbers.where(p) == by_index.where(p));
  }
  BOOST_TEST(by_three.where(array_index(1, 2, 1).position_in({2, 3, 2})) == 4);
  BOOST_TEST(text_of([] { layout(5, placement::custom([](int, int) { return 2; }), {}); })
             == "placement::custom(f): f takes 2 numbers, the array has 1 dimension");
}

BOOST_AUTO_TEST_CASE(a_placement_can_name_its_processes) {
  const auto x = layout(4, placement::cyclic.on({7, 3}), {2, 3, 4});
  BOOST_TEST((x.hosts() == std::vector<proc_id>{7, 3}));
  BOOST_TEST((x.as_placement() == placement::cyclic));
  BOOST_TEST(!(x.as_placement() == placement::block));
  BOOST_TEST((x.as_placement().processes() == std::vector<proc_id>{7, 3}));
  BOOST_TEST(text_of([] { static_cast<void>(placement::block.on({})); }) == "a placement on no processes");
  BOOST_TEST(text_of([] { static_cast<void>(placement::block.on({2, 3, 2})); }) == "a placement on process 2 twice");
  BOOST_TEST(text_of([] { static_cast<void>(placement::custom([](int) { return 2; }).on({2})); }).find("f's to choose")
             != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_process_that_is_not_there_is_named_with_the_element_that_it_should_have) {
  const auto check = [](proc_id id) {
    if (id == 9)
      troupe::throw_error(troupe::make_error_info(troupe::error_kind::unknown_process, "there is no process 9", 9));
  };
  BOOST_CHECK_THROW((array_layout{4, placement::block, {2, 9}, check}), troupe::unknown_process);
  BOOST_CHECK_EXCEPTION(
    (array_layout{{2, 2}, placement::custom([](int i, int) { return i == 0 ? 2 : 9; }), {}, check}), troupe::unknown_process,
    [](auto& e) { return std::string{e.what()} == "the placement puts element (1, 0) on process 9: there is no process 9"; });
  BOOST_CHECK_THROW((array_layout{4, placement::block, {}, any}), troupe::no_workers);
}

BOOST_AUTO_TEST_CASE(a_layout_travels) {
  for (auto& x : {layout({3, 4}, placement::block, {2, 3}), layout(9, placement::cyclic, {5, 3, 2}),
                  layout(9, placement::custom([](int i) { return 2 + i % 3; }), {})}) {
    const auto y = there_and_back(x);
    BOOST_TEST((y.extents() == x.extents()));
    BOOST_TEST((y.hosts() == x.hosts()));
    for (std::size_t i = 0; i < x.size(); ++i)
      BOOST_TEST(y.where(i) == x.where(i));
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_layout_is_refused) {
  const auto refused = [](auto write) {
    troupe::byte_buffer bytes;
    troupe::writer out{bytes};
    write(out);
    troupe::reader in{bytes};
    try {
      array_layout::read(in);
    } catch (const troupe::codec_error&) {
      return true;
    }
    return false;
  };
  const auto head = [](troupe::writer& out, std::uint64_t n, std::uint8_t kind, std::vector<proc_id> hosts) {
    out.put(std::uint8_t{1});
    out.put(n);
    out.put(kind);
    troupe::write(out, hosts);
  };
  BOOST_TEST(!refused([&](auto& out) { head(out, 4, 0, {2, 3}); }));
  BOOST_TEST(refused([&](auto& out) { out.put(std::uint8_t{4}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, 0, 0, {2}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, ~std::uint64_t{0}, 0, {2}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, 4, 3, {2}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, 4, 0, {}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, 1, 0, {2, 3}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, 4, 0, {2, 2}); }));
  BOOST_TEST(refused([&](auto& out) { head(out, 4, 0, {2, -3}); }));
  BOOST_TEST(refused([&](auto& out) {
    head(out, 2, 2, {2});
    troupe::write(out, std::vector<std::uint32_t>{0});
  }));
  BOOST_TEST(refused([&](auto& out) {
    head(out, 2, 2, {2});
    troupe::write(out, std::vector<std::uint32_t>{0, 1});
  }));
}

BOOST_AUTO_TEST_CASE(an_element_s_address_is_an_actor_id_that_CAF_gives_nobody) {
  using troupe::element_id;
  for (auto& x : {element_id{1, 0}, element_id{3, 12345}, element_id{element_id::most_arrays - 1, element_id::most_elements - 1}}) {
    BOOST_TEST(element_id::is(x.actor()));
    BOOST_TEST((element_id::of(x.actor()) == x));
  }
  BOOST_TEST(!element_id::is(1));
  BOOST_TEST(!element_id::is((caf::actor_id{1} << 63) - 1));
}
