#define BOOST_TEST_MODULE pointer_check
#include <boost/test/unit_test.hpp>

#include "troupe/transport/pointer_check.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

using namespace troupe::detail;

namespace {

std::string own_file_name() { return std::filesystem::read_symlink("/proc/self/exe").filename(); }

template <class T>
std::optional<found_pointer> find_in(const std::vector<T>& values) {
  return find_pointer(std::as_bytes(std::span(values)));
}

template <class T>
std::uintptr_t bits(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

// Whether a word is found behind two that are no pointers, where it stands.
found_pointer found(std::uintptr_t word) {
  const std::vector<std::uintptr_t> words{1, ~std::uintptr_t{0}, word, 7};
  const auto result = find_in(words);
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST(result->offset == 16u);
  BOOST_TEST(result->value == word);
  return *result;
}

[[gnu::noinline]] int some_function(int x) { return x + 1; }
int some_variable = 3;

// What is mapped, by another way than the code under test: everything, whatever its protection.
struct range {
  std::uintptr_t begin, end;
};

std::vector<range> mapped_ranges() {
  std::vector<range> ranges;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    range r{};
    if (std::sscanf(line.c_str(), "%lx-%lx", &r.begin, &r.end) == 2)
      ranges.push_back(r);
  }
  return ranges;
}

struct mapping {
  explicit mapping(int protection, std::size_t bytes = 1 << 16) : size(bytes) {
    void* p = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    BOOST_REQUIRE(p != MAP_FAILED);
    start = static_cast<char*>(p);
  }
  ~mapping() { munmap(start, size); }

  char* start = nullptr;
  std::size_t size;
};

// Leaves pointers to the stack and the heap where later frames have their padding.
[[gnu::noinline]] void litter(int n) {
  const std::string s = "some text that is not short " + std::to_string(n);
  char buffer[64];
  const void* pointers[6] = {&s, buffer, pointers, &n, s.data(), &some_variable};
  asm volatile("" ::"r"(pointers) : "memory");
  if (n > 0)
    litter(n - 1);
  asm volatile("" ::: "memory");
}

int checked = 0, refused = 0;

template <class F>
[[gnu::noinline]] void call(F f) {
  if constexpr (pointer_check_possible<F>) {
    ++checked;
    refused += find_pointer(cleared_bytes(f)).has_value();
  }
}

struct padded {
  bool on;
  double x;
  int n;
};

[[gnu::noinline]] void calls_with_padded_captures(int i) {
  const bool flag = i & 1;
  const double x = i * .5;
  const char c = static_cast<char>('a' + i % 20);
  const int k = i + 5;
  padded p;
  p.on = flag;
  p.x = x;
  p.n = k;
  call([flag, x](double y) { return flag ? x : y; });
  call([c, x, k](double y) { return c + x + k + y; });
  call([p](int z) { return p.n + z; });
  call([k, x](int z) { return k + x + z; });
  call([k](int z) { return k + z; });
  call([i, k](int z) { return i + k + z; });
}

} // namespace

BOOST_AUTO_TEST_CASE(integers_are_no_pointers) {
  BOOST_TEST(!find_pointer({}));
  BOOST_TEST(!find_in(std::vector<std::int64_t>{0, 1, -1, 42, 65535, 65536, 1'000'000, -1'000'000, 1'700'000'000, 1'700'000'000'000'000'000,
                                                std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}));
  std::vector<std::int32_t> pairs;
  for (int i = 0; i < 2000; ++i)
    pairs.push_back(i % 2 ? i / 2 : 12345 * i);
  BOOST_TEST(!find_in(pairs));
}

BOOST_AUTO_TEST_CASE(doubles_are_no_pointers) {
  using limits = std::numeric_limits<double>;
  BOOST_TEST(!find_in(std::vector<double>{0, -0.0, 1, -1, .1, 1e300, -1e-300, limits::max(), limits::min(), limits::denorm_min(),
                                          limits::infinity(), limits::quiet_NaN()}));
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(-1e6, 1e6);
  std::vector<double> values(100'000);
  std::generate(values.begin(), values.end(), [&] { return uniform(random); });
  BOOST_TEST(!find_in(values));
}

BOOST_AUTO_TEST_CASE(random_bits_that_are_no_addresses_are_no_pointers) {
  std::mt19937_64 random(2);
  std::vector<std::uint64_t> words;
  for (int i = 0; i < 100'000; ++i)
    words.push_back(random() >> (i % 2 ? 17 : 0)); // half of them in the range of addresses
  const auto ranges = mapped_ranges();
  std::erase_if(words, [&](std::uint64_t w) {
    return std::any_of(ranges.begin(), ranges.end(), [w](const range& r) { return w >= r.begin && w < r.end; });
  });
  BOOST_TEST(words.size() > 30'000u);
  BOOST_TEST(!find_in(words));
  for (std::size_t i = 0; i < 10'000; ++i)
    BOOST_REQUIRE(!find_in(std::vector{words[i]}));
}

BOOST_AUTO_TEST_CASE(stale_padding_is_not_looked_at) {
  for (int i = 0; i < 1000; ++i) {
    litter(6);
    calls_with_padded_captures(i);
  }
  BOOST_TEST(checked == (can_clear_padding ? 6000 : 2000));
  BOOST_TEST(refused == 0);
}

// Frames' addresses, not those of variables: AddressSanitizer moves variables to stacks of its own.
BOOST_AUTO_TEST_CASE(pointers_into_the_stack_are_found) {
  BOOST_TEST(found(bits(__builtin_frame_address(0))).region == "stack");
  std::async(std::launch::async, [] { BOOST_TEST(found(bits(__builtin_frame_address(0))).region == "stack"); }).get();
}

BOOST_AUTO_TEST_CASE(pointers_into_another_threads_stack_are_found) {
  std::promise<const int*> address;
  std::promise<void> done;
  std::jthread other([&] {
    const int local = 1;
    address.set_value(&local);
    done.get_future().wait();
  });
  const auto pointer = found(bits(address.get_future().get()));
  done.set_value();
  BOOST_TEST(pointer.region == "mapping");
}

BOOST_AUTO_TEST_CASE(pointers_into_the_heap_are_found) {
  const auto small = std::make_unique<int>(1);
  const std::vector<int> large(10'000'000);
  const auto region = found(bits(small.get())).region;
  BOOST_TEST((region == "heap" || region == "mapping")); // the sanitizers have a heap of their own
  BOOST_TEST(found(bits(large.data()) + 4'000'001).region == "mapping");
  // One that its thread's own arena has only just got.
  std::async(std::launch::async, [] {
    std::vector<std::unique_ptr<std::array<char, 10'000>>> blocks;
    for (int i = 0; i < 300; ++i) {
      blocks.push_back(std::make_unique<std::array<char, 10'000>>());
      found(bits(blocks.back()->data() + 9'999));
    }
  }).get();
}

BOOST_AUTO_TEST_CASE(pointers_into_the_executable_and_libraries_are_found_with_the_files_name) {
  BOOST_TEST(found(bits("a literal")).region == own_file_name());
  BOOST_TEST(found(reinterpret_cast<std::uintptr_t>(&some_function)).region == own_file_name());
  BOOST_TEST(found(bits(&some_variable)).region == own_file_name());
  BOOST_TEST(found(reinterpret_cast<std::uintptr_t>(dlsym(RTLD_NEXT, "getpid"))).region == "libc.so.6");
}

BOOST_AUTO_TEST_CASE(captured_references_and_pointers_are_found_at_their_offset) {
  double x = 1;
  const double* p = &x;
  const long n = std::lround(x) + 4;
  const auto by_reference = [&x] { return x; };
  const auto by_pointer = [n, p] { return n + *p; };
  static_assert(pointer_check_possible<decltype(by_reference)> && pointer_check_possible<decltype(by_pointer)>);
  BOOST_TEST(find_pointer(cleared_bytes(by_reference)).value().offset == 0u);
  BOOST_TEST(find_pointer(cleared_bytes(by_pointer)).value().offset == 8u);
  BOOST_TEST(find_pointer(cleared_bytes(by_pointer)).value().value == bits(p));
}

BOOST_AUTO_TEST_CASE(what_is_mapped_later_is_found_and_what_is_unmapped_is_not) {
  std::vector<std::uintptr_t> word(1);
  {
    const mapping fresh(PROT_READ | PROT_WRITE);
    word[0] = bits(fresh.start + 5000);
    BOOST_TEST(found(word[0]).region == "mapping");
  }
  BOOST_TEST(!find_in(word));
}

BOOST_AUTO_TEST_CASE(what_can_not_be_read_is_not_found) {
  const mapping guard(PROT_NONE);
  const std::vector<std::uintptr_t> word{bits(guard.start + 8)};
  BOOST_TEST(!find_in(word));
  BOOST_REQUIRE(mprotect(guard.start, guard.size, PROT_READ) == 0);
  BOOST_TEST(find_in(word).has_value());
}

BOOST_AUTO_TEST_CASE(one_pointer_among_many_words_that_look_like_one_is_found) {
  const mapping first(PROT_READ), second(PROT_NONE);
  std::vector<std::uintptr_t> words(10'000);
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = bits(second.start) + i % second.size;
  for (std::size_t i = 0; i < words.size(); i += 2)
    words[i] = 0x10000 + i * 8;
  words[9'000] = bits(first.start);
  const auto pointer = find_in(words);
  BOOST_REQUIRE(pointer.has_value());
  BOOST_TEST(pointer->offset == 72'000u);
}

BOOST_AUTO_TEST_CASE(only_aligned_whole_words_are_looked_at) {
  const int local = 1;
  const std::uintptr_t address = bits(&local);
  std::array<std::byte, 24> bytes{};
  std::memcpy(&bytes[4], &address, 8);
  BOOST_TEST(!find_pointer(bytes));
  std::memcpy(&bytes[16], &address, 8);
  BOOST_TEST(!find_pointer(std::span(bytes).first(23)));
  BOOST_TEST(find_pointer(bytes).value().offset == 16u);
}

BOOST_AUTO_TEST_CASE(cleared_bytes_keep_the_value) {
  const padded p{true, 2.5, 7};
  const auto bytes = cleared_bytes(p);
  const auto copy = std::bit_cast<padded>(bytes);
  BOOST_TEST(copy.on);
  BOOST_TEST(copy.x == 2.5);
  BOOST_TEST(copy.n == 7);
  if constexpr (can_clear_padding)
    BOOST_TEST(std::all_of(&bytes[1], &bytes[8], [](std::byte b) { return b == std::byte{0}; }));
}

BOOST_AUTO_TEST_CASE(what_it_costs) {
  const auto time = [](const char* what, const std::vector<std::uint64_t>& words) {
    constexpr int rounds = 2000;
    int found = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i)
      found += find_in(words).has_value();
    const std::chrono::duration<double, std::nano> t = std::chrono::steady_clock::now() - start;
    BOOST_TEST(found == 0);
    BOOST_TEST_MESSAGE(what << ": " << t.count() / rounds << " ns");
  };
  time("4 words that can be no addresses", {1, 2, 1'700'000'000'000'000'000, ~std::uint64_t{0}});
  time("4 words that could be", {0x123456789a, 0x223456789a, 0x323456789a, 0x423456789a});
  std::vector<std::uint64_t> many(1000);
  for (std::size_t i = 0; i < many.size(); ++i)
    many[i] = 0x100000000 + i * 0x10000;
  time("1000 words that could be", many);
}
