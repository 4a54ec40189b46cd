// Runs a fuzz target without libFuzzer: over the files that are given, then over random changes of them.
//   fuzz_TARGET [--seconds=N] [--seed=S] FILE_OR_FOLDER…
// With --seed, the one input that it makes is run and nothing else; a failure tells which it was. Any single allocation of
// more than a few MiB is a failure, as is an input that takes a minute.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" [[gnu::weak]] void __sanitizer_set_death_callback(void (*callback)());

// The other sanitizer's own end can't be seen in the same way with every compiler, a signal can.
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1:abort_on_error=1"; }

namespace {

using bytes = std::vector<std::uint8_t>;

constexpr std::size_t max_allocation = std::size_t{4} << 20;
constexpr std::size_t max_size = 4096;
constexpr unsigned max_seconds = 60;

bool running = false;

// -- what was run when it failed --------------------------------------------------------------------------------------

char current[4096]; // how to run it again; ready before a signal comes

void tell() {
  if (std::exchange(running, false))
    static_cast<void>(!::write(STDERR_FILENO, current, std::strlen(current)));
}

void on_signal(int signal) {
  tell();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void tell_at_the_end() {
  auto sanitized = &__sanitizer_set_death_callback != nullptr;
  if (sanitized)
    __sanitizer_set_death_callback(tell);
  for (int signal : {SIGABRT, SIGALRM})
    std::signal(signal, on_signal);
  if (!sanitized) // a sanitizer shows where it was
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL})
      std::signal(signal, on_signal);
}

void run(const bytes& in, const std::string& arguments, const char* program) {
  std::snprintf(current, sizeof current, "\nfuzz: that was:\n  %s %s\n", program, arguments.c_str());
  // memory of its own size, so that a sanitizer sees a read past its end
  bytes exact(in);
  exact.shrink_to_fit();
  ::alarm(max_seconds);
  running = true;
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  running = false;
}

// -- changes ----------------------------------------------------------------------------------------------------------

class mutator {
public:
  mutator(std::uint64_t seed, const std::vector<bytes>& corpus) : random_(seed), corpus_(corpus) {}

  /// One of the corpus with one to eight changes; always the same for the same seed and corpus.
  bytes make() {
    auto out = pick();
    for (auto n = 1 + below(8); n > 0; --n)
      change(out);
    if (out.size() > max_size)
      out.resize(max_size);
    return out;
  }

private:
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }

  const bytes& pick() { return corpus_[below(corpus_.size())]; }

  void change(bytes& x) {
    auto at = below(x.size() + 1);
    auto size = std::min(x.size() - at, std::size_t{1} << below(8));
    auto from = x.begin() + static_cast<std::ptrdiff_t>(at);
    auto to = from + static_cast<std::ptrdiff_t>(size);
    switch (below(7)) {
      case 0:
        if (size > 0)
          *from ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1:
        if (size > 0)
          *from = static_cast<std::uint8_t>(random_());
        break;
      case 2:
        x.erase(from, to);
        break;
      case 3: {
        bytes copy(from, to);
        insert(x, copy);
        break;
      }
      case 4:
        x.insert(from, std::size_t{1} << below(8), static_cast<std::uint8_t>(below(3) == 0 ? random_() : 0));
        break;
      case 5:
        overwrite(x, at);
        break;
      case 6: {
        auto& other = pick();
        auto begin = below(other.size() + 1);
        bytes part(other.begin() + static_cast<std::ptrdiff_t>(begin), other.end());
        part.resize(below(part.size() + 1));
        insert(x, part);
        break;
      }
    }
  }

  void insert(bytes& x, const bytes& part) {
    x.insert(x.begin() + static_cast<std::ptrdiff_t>(below(x.size() + 1)), part.begin(), part.end());
  }

  // With a number at which something may change, of 1, 2, 4 or 8 bytes.
  void overwrite(bytes& x, std::size_t at) {
    static constexpr std::uint64_t numbers[] = {
      0, 1, 2, 8, 32, 255, 4096, 65535, 1 << 20, 0x7fffffff, 0xffffffff, std::uint64_t{1} << 40, std::uint64_t{1} << 63, ~std::uint64_t{0}};
    auto number = below(4) == 0 ? x.size() - at : numbers[below(std::size(numbers))];
    auto size = std::min(x.size() - at, std::size_t{1} << below(4));
    std::memcpy(x.data() + at, &number, size);
  }

  std::mt19937_64 random_;
  const std::vector<bytes>& corpus_;
};

// -- the program ------------------------------------------------------------------------------------------------------

struct settings {
  unsigned seconds = 0;
  std::optional<std::uint64_t> seed;
  std::vector<std::filesystem::path> files; // in order
  std::string arguments;                    // that named them
};

template <class T>
T to_number(std::string_view text) {
  T out{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || end != text.data() + text.size()) {
    std::fprintf(stderr, "fuzz: '%s' is no number\n", std::string{text}.c_str());
    std::exit(2);
  }
  return out;
}

settings parse(int argc, char** argv) {
  constexpr std::string_view seconds = "--seconds=";
  constexpr std::string_view seed = "--seed=";
  settings s;
  for (std::string_view argument : std::vector<std::string_view>(argv + 1, argv + argc)) {
    if (argument.starts_with(seconds)) {
      s.seconds = to_number<unsigned>(argument.substr(seconds.size()));
    } else if (argument.starts_with(seed)) {
      s.seed = to_number<std::uint64_t>(argument.substr(seed.size()));
    } else {
      s.arguments += " " + std::string{argument};
      if (!std::filesystem::is_directory(argument))
        s.files.emplace_back(argument);
      else
        for (auto& entry : std::filesystem::recursive_directory_iterator{argument})
          if (entry.is_regular_file())
            s.files.push_back(entry.path());
    }
  }
  std::sort(s.files.begin(), s.files.end());
  return s;
}

bytes read_file(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  bytes out{std::istreambuf_iterator<char>{in}, {}};
  if (in.bad() || !in.is_open()) {
    std::fprintf(stderr, "fuzz: can't read %s\n", file.c_str());
    std::exit(2);
  }
  return out;
}

} // namespace

// Sees every allocation, to find one that believes a length.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (running && size > max_allocation) {
    std::fprintf(stderr, "fuzz: an allocation of %zu bytes\n", size);
    std::abort();
  }
  if (auto p = std::malloc(size))
    return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

int main(int argc, char** argv) {
  auto s = parse(argc, argv);
  std::vector<bytes> corpus;
  for (auto& file : s.files)
    corpus.push_back(read_file(file));
  if (corpus.empty()) {
    std::fprintf(stderr, "usage: %s [--seconds=N] [--seed=S] FILE_OR_FOLDER…\n", argv[0]);
    return 2;
  }
  tell_at_the_end();
  if (s.seed) {
    run(mutator{*s.seed, corpus}.make(), "--seed=" + std::to_string(*s.seed) + s.arguments, argv[0]);
    return 0;
  }
  for (std::size_t i = 0; i < corpus.size(); ++i)
    run(corpus[i], s.files[i].string(), argv[0]);
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{s.seconds};
  std::uint64_t count = 0;
  for (auto seed = std::uint64_t{std::random_device{}()} << 32; std::chrono::steady_clock::now() < deadline; ++seed, ++count)
    run(mutator{seed, corpus}.make(), "--seed=" + std::to_string(seed) + s.arguments, argv[0]);
  ::alarm(0);
  std::printf("%zu files and %llu changes of them\n", corpus.size(), static_cast<unsigned long long>(count));
  return 0;
}
