#define BOOST_TEST_MODULE epidemic
#include <boost/test/unit_test.hpp>

#include "epidemic/binomial.hpp"
#include "epidemic/chart.hpp"
#include "epidemic/model.hpp"
#include "epidemic/output.hpp"
#include "epidemic/places.hpp"
#include "files/files.hpp"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <system_error>

using namespace epidemic;
using files::require_folder;
using files::write_file;

namespace {

constexpr const char* header = "code,name,population,latitude,longitude\n";

/// A folder that is gone at the end of the test.
struct temporary_folder {
  std::filesystem::path path;

  temporary_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "epidemic.XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~temporary_folder() { std::filesystem::remove_all(path); }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  std::size_t files() const { return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{path}, {})); }
};

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

random_stream stream(std::uint32_t day) { return {20201, 7, day, purpose::exposures}; }

scenario states(std::uint32_t days) {
  scenario s{{}, default_places()};
  s.given.days = days;
  return s;
}

/// One place where everybody meets everybody.
scenario one_place(std::int64_t people, double r0, std::uint32_t days) {
  scenario s{{}, {{"A", "A place", people, 0, 0}}};
  s.given.first_case = "A";
  s.given.r0 = r0;
  s.given.days = days;
  return s;
}

double exact_probability(std::int64_t n, double p, std::int64_t k) {
  const double x = static_cast<double>(n), y = static_cast<double>(k);
  return std::exp(std::lgamma(x + 1) - std::lgamma(y + 1) - std::lgamma(x - y + 1) + y * std::log(p) + (x - y) * std::log1p(-p));
}

/// What `action` throws says all of `parts`.
template <class Error, class F>
void check_error(F action, const std::vector<std::string>& parts) {
  try {
    action();
    BOOST_ERROR("nothing was thrown");
  } catch (const Error& e) {
    for (const auto& part : parts)
      BOOST_CHECK_MESSAGE(std::string{e.what()}.find(part) != std::string::npos, "no '" << part << "' in: " << e.what());
  }
}

void check_refused(const std::string& text, const std::string& where, const std::string& what) {
  check_error<places_error>([&] { parse_places(text, "f.csv"); }, {"f.csv:" + where + ": came ", what, "expected"});
}

} // namespace

BOOST_AUTO_TEST_CASE(philox_gives_its_published_known_answers) {
  // From kat_vectors of Random123, the authors' own library.
  BOOST_TEST((philox({0, 0, 0, 0}, {0, 0}) == philox_counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  BOOST_TEST((philox({ones, ones, ones, ones}, {ones, ones}) == philox_counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  BOOST_TEST((philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0})
              == philox_counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

BOOST_AUTO_TEST_CASE(random_numbers_depend_on_seed_place_day_and_purpose) {
  std::set<double> first;
  for (std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{1} << 32}) {
    for (std::uint32_t place : {1, 2}) {
      for (std::uint32_t day : {1, 2}) {
        for (purpose p : {purpose::departures, purpose::progression}) {
          random_stream a{seed, place, day, p}, b{seed, place, day, p};
          for (int i = 0; i < 5; ++i) {
            const double u = a.uniform();
            BOOST_TEST((u > 0 && u < 1));
            BOOST_TEST(u == b.uniform());
            BOOST_TEST(first.insert(u).second);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(binomial_numbers_have_their_mean_and_variance) {
  const struct {
    std::int64_t n;
    double p;
  } cases[] = {{1, 0.3},           {20, 0.01},          {20, 0.5},         {20, 0.95},          {1000, 0.004},
               {100, 0.3},         {100, 0.8},          {1000, 0.0101},    {10'000, 0.5},       {1'000'000, 0.02},
               {40'000'000, 1e-7}, {40'000'000, 0.001}, {40'000'000, 0.3}, {40'000'000, 0.999}, {10'000'000'000, 0.25}};
  for (const auto& c : cases) {
    constexpr int draws = 100'000;
    const double n = static_cast<double>(c.n), mean = n * c.p, variance = mean * (1 - c.p);
    auto random = stream(1);
    double sum = 0, squares = 0;
    for (int i = 0; i < draws; ++i) {
      const auto k = binomial(random, c.n, c.p);
      BOOST_REQUIRE((k >= 0 && k <= c.n));
      const double d = static_cast<double>(k) - mean;
      sum += d;
      squares += d * d;
    }
    BOOST_TEST_CONTEXT("n " << c.n << ", p " << c.p) {
      // Five standard errors; that of the squares comes from the fourth moment.
      const double fourth = variance * (1 + 3 * variance - 6 * variance / n);
      BOOST_TEST(std::abs(sum / draws) < 5 * std::sqrt(variance / draws));
      BOOST_TEST(std::abs(squares / draws - variance) < 5 * std::sqrt((fourth - variance * variance) / draws));
    }
  }
}

BOOST_AUTO_TEST_CASE(binomial_numbers_follow_the_exact_distribution) {
  const struct {
    std::int64_t n;
    double p;
  } cases[] = {{12, 0.3}, {50, 0.1}, {33, 0.31}, {100, 0.5}, {60, 0.8}, {1000, 0.02}, {40'000'000, 1e-6}};
  for (const auto& c : cases) {
    constexpr int draws = 200'000;
    std::vector<double> found(101);
    auto random = stream(2);
    for (int i = 0; i < draws; ++i)
      ++found[static_cast<std::size_t>(std::min<std::int64_t>(binomial(random, c.n, c.p), 100))];
    // Values that are too rare to count alone are counted together.
    double chi_squared = 0, rest_expected = draws, rest_found = draws;
    int classes = 0;
    for (std::int64_t k = 0; k < std::min<std::int64_t>(c.n + 1, 100); ++k) {
      const double expected = draws * exact_probability(c.n, c.p, k);
      if (expected < 20)
        continue;
      const double d = found[static_cast<std::size_t>(k)] - expected;
      chi_squared += d * d / expected;
      rest_expected -= expected;
      rest_found -= found[static_cast<std::size_t>(k)];
      ++classes;
    }
    if (rest_expected > 5) {
      chi_squared += (rest_found - rest_expected) * (rest_found - rest_expected) / rest_expected;
      ++classes;
    }
    // Chi squared with so many degrees of freedom exceeds this in one case of 10^4 (Wilson and Hilferty).
    const double degrees = classes - 1, spread = 2 / (9 * degrees);
    const double limit = degrees * std::pow(1 - spread + 3.72 * std::sqrt(spread), 3);
    BOOST_TEST_CONTEXT("n " << c.n << ", p " << c.p << ", " << classes << " classes")
    BOOST_TEST(chi_squared < limit);
  }
}

BOOST_AUTO_TEST_CASE(binomial_numbers_at_the_edges) {
  auto random = stream(3);
  BOOST_TEST(binomial(random, 0, 0.5) == 0);
  BOOST_TEST(binomial(random, 40'000'000, 0) == 0);
  BOOST_TEST(binomial(random, 40'000'000, 1) == 40'000'000);
  BOOST_TEST(binomial(random, 40'000'000, 1e-300) == 0);
  BOOST_TEST(binomial(random, 40'000'000, 1 - 1e-16) == 40'000'000);
  BOOST_CHECK_THROW(binomial(random, -1, 0.5), std::invalid_argument);
  BOOST_CHECK_THROW(binomial(random, 1, -0.1), std::invalid_argument);
  BOOST_CHECK_THROW(binomial(random, 1, 1.1), std::invalid_argument);
  BOOST_CHECK_THROW(binomial(random, 1, std::nan("")), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(the_states_are_those_of_the_2020_census) {
  const auto places = default_places();
  BOOST_TEST(places.size() == 51u);
  std::int64_t people = 0;
  std::set<std::string> names;
  for (const auto& p : places) {
    people += p.population;
    names.insert(p.name);
  }
  BOOST_TEST(people == 331'449'281);
  BOOST_TEST(names.size() == 51u);
  const auto population = [&](std::string_view code) {
    for (const auto& p : places) {
      if (p.code == code)
        return p.population;
    }
    return std::int64_t{0};
  };
  BOOST_TEST(population("CA") == 39'538'223);
  BOOST_TEST(population("WY") == 576'851);
  BOOST_TEST(population("DC") == 689'545);
}

BOOST_AUTO_TEST_CASE(distances_go_along_great_circles) {
  const place pole{"N", "North pole", 1, 90, 0}, equator{"E", "Equator", 1, 0, 123};
  const place paris{"P", "Paris", 1, 48.8566, 2.3522}, york{"Y", "New York", 1, 40.7128, -74.0060};
  const place east{"D", "East", 1, 0, 179.5}, west{"W", "West", 1, 0, -179.5};
  BOOST_TEST(distance_km(pole, equator) == 10007.56, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(distance_km(paris, york) == 5837, boost::test_tools::tolerance(1e-3));
  BOOST_TEST(distance_km(east, west) == 111.195, boost::test_tools::tolerance(1e-5));
  BOOST_TEST(distance_km(paris, paris) == 0);
}

BOOST_AUTO_TEST_CASE(a_table_of_places_may_look_different) {
  const auto places = parse_places("\xEF\xBB\xBF# a comment\r\n\r\n"
                                   " longitude , name,extra,code,latitude,population\r\n"
                                   "-1.5, Some Place ,x,A-1,+2.25,10\r\n"
                                   "180,Other,,b_2,-90,10000000000",
                                   "f.csv");
  BOOST_REQUIRE(places.size() == 2u);
  BOOST_TEST(places[0].code == "A-1");
  BOOST_TEST(places[0].name == "Some Place");
  BOOST_TEST(places[0].population == 10);
  BOOST_TEST(places[0].latitude == 2.25);
  BOOST_TEST(places[0].longitude == -1.5);
  BOOST_TEST(places[1].population == max_population);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_in_a_table_is_told_with_its_line) {
  const std::string h = header;
  check_refused("", "1", "the end");
  check_refused("# nothing\n", "2", "the end");
  check_refused(h, "2", "at least one place");
  check_refused("code,name,population,latitude\nA,A,1,0\n", "1", "no column 'longitude'");
  check_refused("code,name,population,latitude,longitude,name\n", "1", "more than one column 'name'");
  check_refused("A,A,1,0,0\n", "1", "no column 'code'");
  check_refused(h + "A,A,1,0,0\nB,B,1,0\n", "3", "4 fields, expected 5");
  check_refused(h + "A,\"A, B\",1,0,0\n", "2", "6 fields, expected 5");
  check_refused(h + "A,A,1,0,0\n#\nA,B,1,0,0\n", "4", "'A' again, expected another than in line 2");
  for (const std::string bad : {"", "x", "1.5", "1e6", "-1", "0", "+5", "1 000", "nan", "10000000001", "99999999999999999999"})
    check_refused(h + "A,A," + bad + ",0,0\n", "2", "'" + bad + "' as population");
  for (const std::string bad : {"", "x", "90.1", "-91", "nan", "-nan", "inf", "+-1", "1x", "1e400"})
    check_refused(h + "A,A,1," + bad + ",0\n", "2", "'" + bad + "' as latitude");
  check_refused(h + "A,A,1,0,180.5\n", "2", "'180.5' as longitude");
  check_refused(h + ",A,1,0,0\n", "2", "'' as code");
  check_refused(h + "a b,A,1,0,0\n", "2", "'a b' as code");
  check_refused(h + "total,A,1,0,0\n", "2", "'total' as code");
  check_refused(h + "A,,1,0,0\n", "2", "'' as name");
  check_refused(h + "A,B\x1b[31m,1,0,0\n", "2", "'B?[31m' as name");
  check_refused(h + std::string(1000, 'A') + ",A,1,0,0\n", "2", "A…' as code");
  std::string many = h;
  for (std::size_t i = 0; i <= max_places; ++i)
    many += "P" + std::to_string(i) + ",A,1,0,0\n";
  check_refused(many, "2002", "at most 2000");
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_read_is_named) {
  const temporary_folder folder;
  const auto missing = folder.path / "missing.csv";
  check_error<std::system_error>([&] { read_places(missing); }, {missing.string(), "No such file"});
  check_error<std::system_error>([&] { read_places(folder.path); }, {folder.path.string(), "directory"});
  check_error<std::system_error>([] { read_places("/dev/zero"); }, {"/dev/zero", "too large"});
  const auto file = folder.path / "places.csv";
  write_file(file, std::string{header} + "A,A,-3,0,0\n");
  check_error<places_error>([&] { read_places(file); }, {file.string() + ":2: ", "'-3'"});
}

BOOST_AUTO_TEST_CASE(a_parameter_out_of_range_is_named) {
  const auto check_named = [](auto change, const std::vector<std::string>& parts) {
    auto s = states(10);
    change(s.given);
    check_error<std::invalid_argument>([&] { check(s); }, parts);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  check_named([](parameters& p) { p.days = 0; }, {"--days", "0", "expected 1 to 36500"});
  check_named([](parameters& p) { p.r0 = -1; }, {"--r0", "-1", "expected 0 to 100"});
  check_named([&](parameters& p) { p.r0 = nan; }, {"--r0", "nan"});
  check_named([](parameters& p) { p.incubation = 0; }, {"--incubation"});
  check_named([](parameters& p) { p.infectious = 1e6; }, {"--infectious"});
  check_named([](parameters& p) { p.travel = 1.01; }, {"--travel", "1.01", "0 to 1"});
  check_named([](parameters& p) { p.first_case = "XX"; }, {"--first-case", "'XX'", "AL AK"});
  check_named([](parameters& p) { p.first_count = 0; }, {"--first-count"});
  check_named([](parameters& p) { p.first_count = 7'705'282; }, {"--first-count", "7705281"});
  BOOST_CHECK_NO_THROW(check(states(10)));
}

BOOST_AUTO_TEST_CASE(places_are_divided_evenly) {
  for (std::size_t places : {1, 2, 7, 51, 100}) {
    for (std::size_t blocks = 1; blocks <= places; ++blocks) {
      const partition parts{places, blocks};
      BOOST_REQUIRE(parts.first(0) == 0u);
      BOOST_REQUIRE(parts.last(blocks - 1) == places);
      for (std::size_t b = 0; b < blocks; ++b) {
        const auto size = parts.last(b) - parts.first(b);
        BOOST_REQUIRE((size == places / blocks || size == (places + blocks - 1) / blocks));
        for (auto p = parts.first(b); p < parts.last(b); ++p)
          BOOST_REQUIRE(parts.block_of(p) == b);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(nobody_is_lost_and_nobody_counted_twice) {
  auto s = states(150);
  s.given.travel = 0.2;
  s.given.first_count = 1000;
  const auto t = run_here(s, 3);
  for (std::uint32_t day = 0; day <= t.days(); ++day) {
    for (std::size_t p = 0; p < t.places(); ++p) {
      const auto& x = t.at(day, p);
      BOOST_REQUIRE(x.people() == s.places[p].population);
      BOOST_REQUIRE((x.s >= 0 && x.e >= 0 && x.i >= 0 && x.r >= 0));
      if (day > 0) {
        BOOST_REQUIRE(x.s <= t.at(day - 1, p).s);
        BOOST_REQUIRE(x.r >= t.at(day - 1, p).r);
      }
    }
  }
  BOOST_TEST(t.total(150).people() == 331'449'281);
  BOOST_TEST(t.total(150).r > 100'000'000);
}

BOOST_AUTO_TEST_CASE(the_division_into_blocks_changes_no_byte) {
  const auto s = states(200);
  const auto expected = to_csv(run_here(s, 1), s);
  for (std::size_t blocks : {2, 4, 7, 51})
    BOOST_TEST((to_csv(run_here(s, blocks), s) == expected));
  auto other = s;
  other.given.seed = 2;
  BOOST_TEST((to_csv(run_here(other, 1), other) != expected));
}

BOOST_AUTO_TEST_CASE(the_order_in_which_messages_arrive_changes_nothing) {
  auto s = states(1);
  s.given.travel = 0.5;
  s.given.first_count = 1'000'000;
  block one{s, 0, 51}, other{s, 0, 51};
  auto visits = one.depart(1);
  const auto same = other.depart(1);
  auto exposures = one.mix(1, visits);
  std::reverse(visits.begin(), visits.end());
  const auto reversed = other.mix(1, visits);
  one.settle(1, exposures);
  other.settle(1, reversed);
  BOOST_TEST(same.size() == visits.size());
  BOOST_TEST(exposures.size() > 1u);
  BOOST_TEST((one.residents() == other.residents()));
}

BOOST_AUTO_TEST_CASE(so_many_travel_and_near_and_large_places_attract_more) {
  auto s = states(1);
  s.given.travel = 0.1;
  block all{s, 0, 51};
  std::int64_t travellers = 0, to_oregon = 0, to_maine = 0, to_california = 0, to_nevada = 0;
  const auto position = [&](std::string_view code) {
    return static_cast<std::uint32_t>(std::find_if(s.places.begin(), s.places.end(), [&](const place& p) { return p.code == code; })
                                      - s.places.begin());
  };
  for (const auto& v : all.depart(1)) {
    BOOST_REQUIRE(v.from != v.to);
    travellers += v.who.people();
    if (v.from == position("WA")) {
      to_oregon += v.to == position("OR") ? v.who.people() : 0;
      to_maine += v.to == position("ME") ? v.who.people() : 0;
    } else if (v.from == position("AZ")) {
      to_california += v.to == position("CA") ? v.who.people() : 0;
      to_nevada += v.to == position("NV") ? v.who.people() : 0;
    }
  }
  BOOST_TEST(std::abs(static_cast<double>(travellers) - 33'144'928.1) < 5 * std::sqrt(0.1 * 0.9 * 331'449'281));
  BOOST_TEST(to_oregon > 10 * to_maine);
  // By the formula: P_j / d_ij^2, as a ratio.
  const auto pull = [&](std::string_view code) {
    const auto& to = s.places[position(code)];
    return static_cast<double>(to.population) / std::pow(distance_km(s.places[position("AZ")], to), 2);
  };
  BOOST_TEST(static_cast<double>(to_california) / static_cast<double>(to_nevada) == pull("CA") / pull("NV"),
             boost::test_tools::tolerance(0.03));
}

BOOST_AUTO_TEST_CASE(an_epidemic_below_the_threshold_dies_out) {
  auto s = states(700);
  s.given.r0 = 0.8;
  s.given.first_count = 1000;
  const auto t = run_here(s);
  BOOST_TEST(t.total(700).e + t.total(700).i == 0);
  // Each case makes 1 / (1 - R0) in all, give or take five standard deviations of that.
  const auto infected = static_cast<double>(summarize(t).ever_infected);
  BOOST_TEST(std::abs(infected - 5000) < 5 * std::sqrt(1000 * 2 * 0.8 / std::pow(0.2, 3)));
}

BOOST_AUTO_TEST_CASE(as_many_are_infected_as_the_final_size_equation_says) {
  for (const double r0 : {1.5, 2.5, 5.0}) {
    const auto s = [&] {
      auto x = one_place(10'000'000, r0, 1500);
      x.given.first_count = 1000;
      return x;
    }();
    // z = 1 - exp(-R0 z), W. O. Kermack and A. G. McKendrick, 1927.
    double z = 1;
    for (int i = 0; i < 200; ++i)
      z = 1 - std::exp(-r0 * z);
    const auto result = summarize(run_here(s));
    BOOST_TEST(static_cast<double>(result.ever_infected) / 1e7 == z, boost::test_tools::tolerance(0.005));
  }
}

BOOST_AUTO_TEST_CASE(without_travel_it_stays_where_it_began) {
  auto s = states(200);
  s.given.travel = 0;
  s.given.first_count = 100;
  const auto t = run_here(s);
  for (std::size_t p = 0; p < t.places(); ++p)
    BOOST_TEST((t.at(200, p).s < s.places[p].population) == (s.places[p].code == "WA"));
}

BOOST_AUTO_TEST_CASE(everybody_may_travel_every_day) {
  auto s = states(30);
  s.given.travel = 1;
  s.places.resize(2);
  s.given.first_case = "AK";
  const auto t = run_here(s, 2);
  BOOST_TEST(t.total(30).people() == s.places[0].population + s.places[1].population);
}

BOOST_AUTO_TEST_CASE(the_table_has_a_line_for_each_place_and_their_total_on_each_day) {
  scenario s{{}, {{"A", "A", 10, 0, 0}, {"B", "B", 20, 0, 1}}};
  trajectory t{2};
  t.extend_to(1);
  const counts day0[] = {{9, 0, 1, 0}, {20, 0, 0, 0}}, day1[] = {{7, 1, 1, 1}, {19, 0, 1, 0}};
  t.set(0, 0, day0);
  t.set(1, 0, day1);
  BOOST_TEST(to_csv(t, s)
             == "day,place,S,E,I,R,new_cases\n"
                "0,A,9,0,1,0,1\n0,B,20,0,0,0,0\n0,total,29,0,1,0,1\n"
                "1,A,7,1,1,1,1\n1,B,19,0,1,0,1\n1,total,26,1,2,1,2\n");
  const auto result = summarize(t);
  BOOST_TEST(result.peak_day == 1u);
  BOOST_TEST(result.peak == 2);
  BOOST_TEST(result.ever_infected == 4);
  BOOST_TEST(result.people == 30);
}

BOOST_AUTO_TEST_CASE(a_file_is_replaced_as_a_whole) {
  const temporary_folder folder;
  const auto file = folder.path / "out.csv";
  write_file(file, "old");
  write_file(file, "new");
  BOOST_TEST(content_of(file) == "new");
  BOOST_TEST(folder.files() == 1u);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_written_is_named_with_the_reason) {
  check_error<std::system_error>([] { write_file("/dev/full", "text"); }, {"cannot write /dev/full", "No space left on device"});
  const temporary_folder folder;
  const auto nowhere = folder.path / "missing" / "out.csv";
  check_error<std::system_error>([&] { write_file(nowhere, "text"); }, {nowhere.string(), "No such file"});
  const auto taken = folder.path / "taken";
  std::filesystem::create_directory(taken);
  check_error<std::system_error>([&] { write_file(taken, "text"); }, {taken.string(), "Is a directory"});
  BOOST_TEST(folder.files() == 1u);
  // What links to a full disk, as it would stand in a folder of results.
  std::filesystem::create_symlink("/dev/full", folder.path / "epidemic.csv");
  const auto s = states(2);
  check_error<std::system_error>([&] { write_file(folder.path / "epidemic.csv", to_csv(run_here(s), s)); },
                                 {"epidemic.csv", "No space left on device"});
}

BOOST_AUTO_TEST_CASE(a_folder_is_made_or_refused) {
  const temporary_folder folder;
  const auto deep = folder.path / "a" / "b";
  require_folder(deep);
  require_folder(deep);
  BOOST_TEST(std::filesystem::is_directory(deep));
  const auto file = folder.path / "file";
  write_file(file, "text");
  check_error<std::system_error>([&] { require_folder(file); }, {file.string(), "Not a directory"});
  check_error<std::system_error>([&] { require_folder(file / "a"); }, {(file / "a").string(), "Not a directory"});
  check_error<std::system_error>([] { require_folder("/proc/none"); }, {"/proc/none"});
}

BOOST_AUTO_TEST_CASE(the_chart_is_a_png_of_the_promised_size) {
  const auto s = states(30);
  const auto png = draw_chart(run_here(s), s);
  BOOST_TEST(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  BOOST_TEST((png.substr(12, 12) == std::string{"IHDR\0\0\x04\xb0\0\0\x02\xee", 12})); // 1200 by 750
}

BOOST_AUTO_TEST_CASE(ticks_are_round) {
  BOOST_TEST(tick_step(331'449'281, 8) == 50'000'000);
  BOOST_TEST(tick_step(365, 12) == 50);
  BOOST_TEST(tick_step(8, 8) == 1);
  BOOST_TEST(tick_step(17, 8) == 5);
  BOOST_TEST(tick_step(70, 8) == 10);
  BOOST_TEST(people_label(0) == "0");
  BOOST_TEST(people_label(500) == "500");
  BOOST_TEST(people_label(20'000) == "20k");
  BOOST_TEST(people_label(2'500'000) == "2.5M");
  BOOST_TEST(people_label(1.5e10) == "15G");
  BOOST_TEST(grouped(0) == "0");
  BOOST_TEST(grouped(-123) == "-123");
  BOOST_TEST(grouped(1'234'567) == "1 234 567");
}
