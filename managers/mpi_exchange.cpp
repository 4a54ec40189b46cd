#include "troupe/managers/mpi_exchange.hpp"

#include "troupe/actors/driving.hpp"
#include "troupe/actors/executor.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/managers/mpi_twins.hpp"
#include "troupe/transport/error.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

namespace troupe {

namespace {

using namespace std::chrono_literals;

struct header {
  std::uint64_t size;
  std::uint64_t failed;
};

// What goes with its header, at most.
constexpr std::size_t small = 64 * 1024;
// MPI counts in int.
constexpr std::size_t largest_message = std::size_t{1} << 30;
// How long what has begun is waited for when a wait is ended; the other rank hears of the end at about the same time.
constexpr auto grace = 100ms;
constexpr auto nap = 50us;
// Of how many parts that were ended, and for how long, is remembered that something may come for them.
constexpr std::size_t most_left = 64;
constexpr auto memory = 60s;

[[noreturn]] void fail(const std::string& what) {
  throw_error(make_error_info(error_kind::interrupted, "a collective over MPI was ended: " + what));
}

void check(int result, const char* what) {
  if (result != MPI_SUCCESS)
    fail(std::string{what} + " failed with " + std::to_string(result));
}

} // namespace

mpi_exchange::mpi_exchange(MPI_Comm of) {
  MPI_Comm_dup(of, &comm_);
  int there = 0;
  int* largest = nullptr;
  MPI_Comm_get_attr(comm_, MPI_TAG_UB, static_cast<void*>(&largest), &there);
  tags_ = there != 0 ? static_cast<std::uint64_t>(*largest) + 1 : 32768;
}

int mpi_exchange::tag(std::uint64_t number) const { return static_cast<int>(number % tags_); }

void mpi_exchange::begin_send(transfer& t, const void* data, std::size_t size, std::uint64_t number, int to) {
  for (std::size_t at = 0; at < size; at += largest_message) {
    t.requests.push_back(MPI_REQUEST_NULL);
    check(PMPI_Isend(static_cast<const std::byte*>(data) + at, static_cast<int>(std::min(size - at, largest_message)), MPI_BYTE, to,
                     tag(number), comm_, &t.requests.back()),
          "MPI_Isend");
  }
}

void mpi_exchange::begin_receive(transfer& t, void* data, std::size_t size, std::uint64_t number, int from) {
  t.receives = true;
  for (std::size_t at = 0; at < size; at += largest_message) {
    t.requests.push_back(MPI_REQUEST_NULL);
    check(PMPI_Irecv(static_cast<std::byte*>(data) + at, static_cast<int>(std::min(size - at, largest_message)), MPI_BYTE, from,
                     tag(number), comm_, &t.requests.back()),
          "MPI_Irecv");
  }
}

// Calls f, which waits in MPI; the thread's turn is another's meanwhile.
void mpi_exchange::patiently(const std::function<void()>& f) {
  const executor::waiting without_turn;
  struct counted {
    std::atomic<int>& n;
    explicit counted(std::atomic<int>& of) : n(of) { ++n; }
    ~counted() { --n; }
  } counts{waiting_};
  const detail::mpi_waits patient{[this] {
                                    if (stopped_.load(std::memory_order_relaxed))
                                      fail("this process leaves the cluster");
                                    waiter::of_this_thread().check();
                                    task_control::check();
                                  },
                                  driving::look};
  f();
}

void mpi_exchange::wait(transfer& t) {
  const int count = static_cast<int>(t.requests.size());
  int done = 0;
  check(PMPI_Testall(count, t.requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
  if (done != 0)
    return;
  try {
    patiently([&] { check(MPI_Waitall(count, t.requests.data(), MPI_STATUSES_IGNORE), "MPI_Waitall"); });
  } catch (...) {
    abandon(t);
    throw;
  }
}

// The next message, whatever its size.
std::shared_ptr<std::vector<std::byte>> mpi_exchange::receive_message(std::uint64_t number, int from) {
  int there = 0, size = 0;
  MPI_Message message;
  MPI_Status status;
  check(PMPI_Improbe(from, tag(number), comm_, &there, &message, &status), "MPI_Improbe");
  if (there == 0)
    patiently([&] { check(MPI_Mprobe(from, tag(number), comm_, &message, &status), "MPI_Mprobe"); });
  MPI_Get_count(&status, MPI_BYTE, &size);
  auto out = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(size));
  transfer t{.requests = {MPI_REQUEST_NULL}, .keeper = out};
  check(PMPI_Imrecv(out->data(), size, MPI_BYTE, &message, t.requests.data()), "MPI_Imrecv");
  wait(t);
  return out;
}

// What MPI may still read or write stays where it is until that is over.
void mpi_exchange::abandon(transfer& t) {
  const auto over = [&] {
    int done = 0;
    return PMPI_Testall(static_cast<int>(t.requests.size()), t.requests.data(), &done, MPI_STATUSES_IGNORE) == MPI_SUCCESS && done != 0;
  };
  if (t.receives)
    for (auto& r : t.requests)
      if (r != MPI_REQUEST_NULL)
        PMPI_Cancel(&r);
  const auto end = std::chrono::steady_clock::now() + grace;
  while (!over()) {
    if (std::chrono::steady_clock::now() >= end) {
      detail::expect_mpi_leftovers();
      std::lock_guard guard{mutex_};
      leftovers_.push_back(std::move(t));
      unclean_ = true;
      return;
    }
    std::this_thread::sleep_for(nap);
  }
}

void mpi_exchange::leave(std::uint64_t number) {
  std::lock_guard guard{mutex_};
  left_.push_back({number, std::chrono::steady_clock::now()});
  if (left_.size() > most_left)
    left_.pop_front();
  unclean_ = true;
}

// Takes what has come for parts that were ended.
void mpi_exchange::clean() {
  if (!unclean_.load(std::memory_order_relaxed))
    return;
  std::lock_guard guard{mutex_};
  while (!left_.empty() && std::chrono::steady_clock::now() - left_.front().since > memory)
    left_.pop_front();
  for (auto& [number, since] : left_) {
    while (true) {
      int there = 0;
      MPI_Message message;
      MPI_Status status;
      if (PMPI_Improbe(MPI_ANY_SOURCE, tag(number), comm_, &there, &message, &status) != MPI_SUCCESS || there == 0)
        break;
      int size = 0;
      MPI_Get_count(&status, MPI_BYTE, &size);
      const auto trash = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(size));
      transfer t{.requests = {MPI_REQUEST_NULL}, .keeper = trash};
      PMPI_Imrecv(trash->data(), size, MPI_BYTE, &message, t.requests.data());
      leftovers_.push_back(std::move(t));
    }
  }
  std::erase_if(leftovers_, [](transfer& t) {
    int done = 0;
    return PMPI_Testall(static_cast<int>(t.requests.size()), t.requests.data(), &done, MPI_STATUSES_IGNORE) == MPI_SUCCESS && done != 0;
  });
  unclean_ = !left_.empty() || !leftovers_.empty();
}

void mpi_exchange::begin() {
  waiter::check_may_block();
  clean();
}

// `with`: what goes with it.
void mpi_exchange::send_header(std::uint64_t number, int to, std::uint64_t size, std::span<const std::byte> with) {
  const auto message = std::make_shared<std::vector<std::byte>>(sizeof(header) + with.size());
  const header h{size, 0};
  std::memcpy(message->data(), &h, sizeof h);
  if (!with.empty())
    std::memcpy(message->data() + sizeof h, with.data(), with.size());
  transfer t{.requests = {}, .keeper = message};
  begin_send(t, message->data(), message->size(), number, to);
  wait(t);
}

void mpi_exchange::send(std::uint64_t number, int to, std::span<const std::byte> bytes, std::shared_ptr<const void> keeper) {
  begin();
  if (bytes.size() <= small)
    return send_header(number, to, bytes.size(), bytes);
  send_header(number, to, bytes.size(), {});
  const auto asked = std::make_shared<char>();
  transfer word{.requests = {}, .keeper = asked};
  begin_receive(word, asked.get(), 1, number, to);
  wait(word);
  transfer t{.requests = {}, .keeper = std::move(keeper)};
  begin_send(t, bytes.data(), bytes.size(), number, to);
  wait(t);
}

void mpi_exchange::send_nothing(std::uint64_t number, int to) {
  begin();
  const auto h = std::make_shared<header>(header{0, 1});
  transfer t{.requests = {}, .keeper = h};
  begin_send(t, h.get(), sizeof *h, number, to);
  wait(t);
}

bool mpi_exchange::receive(std::uint64_t number, int from, std::shared_ptr<landing> where) {
  begin();
  const auto message = receive_message(number, from);
  const auto came = message->size();
  header h{};
  if (came < sizeof h)
    fail("rank " + std::to_string(from) + " sent " + std::to_string(came) + " bytes, and a header has " + std::to_string(sizeof h));
  std::memcpy(&h, message->data(), sizeof h);
  if (h.failed != 0)
    return false;
  where->size = h.size;
  const auto block = where->memory(0, where->size);
  if (h.size <= small) {
    if (came - sizeof h != h.size)
      fail("rank " + std::to_string(from) + " sent " + std::to_string(came - sizeof h) + " bytes of a value of " + std::to_string(h.size));
    if (h.size > 0)
      std::memcpy(block, message->data() + sizeof h, h.size);
    return true;
  }
  transfer rest{.requests = {}, .keeper = where};
  begin_receive(rest, block, h.size, number, from);
  const auto word = std::make_shared<char>(1);
  transfer ask{.requests = {}, .keeper = word};
  try {
    begin_send(ask, word.get(), 1, number, from);
    wait(ask);
  } catch (...) {
    abandon(rest);
    throw;
  }
  wait(rest);
  return true;
}

} // namespace troupe
