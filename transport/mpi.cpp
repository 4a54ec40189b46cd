#include "troupe/transport/mpi.hpp"

#include "troupe/transport/bells.hpp"
#include "troupe/transport/brief_lock.hpp"
#include "troupe/transport/byte_buffer.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <stdexcept>
#include <sys/epoll.h>
#include <unordered_map>
#include <utility>
#include <vector>

namespace troupe {

namespace {

using clock = loop::clock;

constexpr int tag = 1;
constexpr std::size_t packet_size = 1 << 20; // with its header
// A message of this size, or less, has come as a whole when it is found: to receive it is to copy it.
constexpr int here_already = 4 << 10;
// Bytes of a stream that are on their way or wait to be read.
constexpr std::uint64_t window = 4 << 20;
// Handshake and hello are less.
constexpr std::uint64_t introduction = 1 << 20;
// Packets to one rank that MPI hasn't taken yet; testing them takes time for each.
constexpr std::size_t most_in_flight = 64;
constexpr std::size_t spare_packets = 16;
constexpr int packets_at_once = 64; // that one round takes
// MPI_Improbe looks among what has arrived, and if there's nothing takes in what arrives, which the next one finds. The rest of a round takes
// longer than some of them.
constexpr int most_looks = 4;
// How long a thread sleeps when nobody can wake it, or MPI has something to do: first, and at most.
constexpr clock::duration first_nap = std::chrono::microseconds{20};
constexpr clock::duration longest_nap = std::chrono::milliseconds{1};
constexpr std::chrono::milliseconds farewell{200};

enum class packet_kind : std::uint32_t { open = 1, opened, refused, data, read, close };

// What each MPI message begins with. Streams have a number at each end, which that end chooses.
struct packet_header {
  packet_kind kind{};
  std::uint32_t stream = 0; // the receiver's number; open: the sender's
  std::uint64_t value = 0; // opened: the sender's number; read: how many bytes of the stream it has read
};
static_assert(sizeof(packet_header) == 16);

struct packet {
  byte_buffer bytes;
  MPI_Request request = MPI_REQUEST_NULL;
  int from = 0;
  std::size_t begin = sizeof(packet_header); // of what hasn't been read
};

using packet_ptr = std::unique_ptr<packet>;

packet_header header_of(const packet& p) {
  packet_header h;
  std::memcpy(&h, p.bytes.data(), sizeof h);
  return h;
}

} // namespace

// All of a job's ranks as one of them sees them. Writers take `mutex_`; everything else is the loop's.
class mpi_transport::network final : public loop::source, public std::enable_shared_from_this<network> {
public:
  class stream;

  explicit network(MPI_Comm of);
  ~network() override;

  void use(loop& l);
  void leave();

  bool poll() override;
  clock::duration rest() override;
  void wake() override { bells_->sleeps(false); }
  bool unfinished() const override { return !ready_.empty() || !receiving_.empty() || in_flight_now_.load(std::memory_order_relaxed) != 0; }

  std::string address() const { return address_; }
  std::unique_ptr<byte_stream> add_stream(int rank);
  void dial(int rank, std::chrono::milliseconds limit, dial_handler done);
  void forget(std::uint32_t id);
  void make_ready(std::uint32_t id) { ready_.push_back(id); }

  packet_ptr new_packet(packet_header h);
  // Whether a rank doesn't receive what has been sent to it.
  bool busy(int to) const { return unsent_to_[static_cast<std::size_t>(to)].load(std::memory_order_relaxed) >= most_in_flight; }
  // False if MPI doesn't take it: whoever waits for a header will notice, a stream has ended.
  bool send(int to, packet_ptr p);
  void send_header(int to, packet_header h) { send(to, new_packet(h)); }
  void give_back(packet_ptr p);

  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0, size = 0;
  acceptor on_accept;

private:
  struct dialling {
    std::unique_ptr<byte_stream> stream;
    dial_handler done;
    loop::timer_id timer = 0;
  };

  bool receive();
  bool finish_sends();
  bool tell();
  void take(packet_ptr p);
  void answer(std::uint32_t id, bool opened, std::uint64_t number);
  stream* find(std::uint32_t id, int from);

  std::string address_;
  std::unique_ptr<bells> bells_;
  loop* loop_ = nullptr;
  std::unordered_map<std::uint32_t, stream*> streams_;
  std::unordered_map<std::uint32_t, dialling> dialled_;
  std::uint32_t last_id_ = 0;
  std::vector<std::uint32_t> ready_; // streams
  std::deque<packet_ptr> receiving_; // in their order; the first isn't complete
  clock::duration nap_ = first_nap;

  std::mutex mutex_;
  std::vector<packet_ptr> in_flight_;
  std::vector<packet_ptr> spare_;
  std::atomic<std::size_t> in_flight_now_{0};
  std::vector<std::atomic<std::size_t>> unsent_to_; // by rank
};

// Created by the loop's thread; `write` may be called by others, until the stream is destroyed.
class mpi_transport::network::stream final : public byte_stream {
public:
  stream(std::shared_ptr<network> n, std::uint32_t id, int rank) : network_(std::move(n)), id_(id), rank_(rank) {}
  // Perhaps by the last writer, if it has been closed; or else by the loop's thread.
  ~stream() override { close(); }

  void start(loop&, std::function<void()> readable, std::function<void()> writable) override {
    readable_ = std::make_shared<std::function<void()>>(std::move(readable));
    writable_ = std::make_shared<std::function<void()>>(std::move(writable));
    ready_ = false;
    if (has_something())
      be_ready();
  }

  stream_result read(std::span<std::byte> into) override {
    std::size_t n = 0;
    while (n < into.size() && !inbox_.empty()) {
      auto& p = *inbox_.front();
      const auto some = std::min(into.size() - n, p.bytes.size() - p.begin);
      std::memcpy(into.data() + n, p.bytes.data() + p.begin, some);
      p.begin += some;
      n += some;
      if (p.begin == p.bytes.size()) {
        network_->give_back(std::move(inbox_.front()));
        inbox_.pop_front();
      }
    }
    read_ += n;
    if (read_ - told_ >= window / 4) {
      told_ = read_;
      network_->send_header(rank_, {packet_kind::read, peer_id_, read_});
    }
    if (n > 0)
      return {stream_result::status::moved, n, 0};
    return {ended_ ? stream_result::status::ended : stream_result::status::would_block, 0, 0};
  }

  stream_result write(std::span<const iovec> pieces) override {
    if (closed_ || failed_)
      return {stream_result::status::failed, 0, EPIPE};
    const auto most = std::min<std::uint64_t>(window - (written_ - read_by_peer_.load()), packet_size - sizeof(packet_header));
    // what introduces a process is never kept waiting: it would count as a failure
    if (most == 0 || (written_ >= introduction && network_->busy(rank_)))
      return {stream_result::status::would_block, 0, 0};
    auto p = network_->new_packet({packet_kind::data, peer_id_, 0});
    std::size_t n = 0;
    for (auto& piece : pieces) {
      const auto some = std::min<std::size_t>(piece.iov_len, most - n);
      append(p->bytes, {static_cast<const std::byte*>(piece.iov_base), some});
      n += some;
      if (n == most)
        break;
    }
    written_ += n;
    if (!network_->send(rank_, std::move(p))) {
      failed_ = true; // what is missing now, no later piece may follow
      return {stream_result::status::failed, 0, EIO};
    }
    return {stream_result::status::moved, n, 0};
  }

  void want_write(bool on) override {
    wants_write_ = on;
    if (on)
      be_ready();
  }

  void close() override {
    if (closed_.exchange(true))
      return;
    readable_ = writable_ = nullptr;
    network_->forget(id_);
    inbox_.clear();
    if (!ended_ && peer_id_ != 0)
      network_->send_header(rank_, {packet_kind::close, peer_id_, 0});
  }

  std::string kind() const override { return "mpi"; }
  std::string peer() const override { return "rank " + std::to_string(rank_); }

  // -- for the network

  std::uint32_t id() const { return id_; }
  int rank() const { return rank_; }
  void set_peer(std::uint32_t id) { peer_id_ = id; }
  void arrived(packet_ptr p) {
    if (closed_)
      return;
    inbox_.push_back(std::move(p));
    be_ready();
  }
  void end() {
    ended_ = true;
    be_ready();
  }
  void be_ready() {
    if (ready_ || !readable_)
      return;
    ready_ = true;
    network_->make_ready(id_);
  }
  void no_longer_ready() { ready_ = false; }
  bool has_something() const { return readable_ && (wants_write_ || !inbox_.empty() || ended_); }
  void read_by_peer(std::uint64_t bytes) {
    // never more than was written
    if (bytes <= written_ && bytes > read_by_peer_)
      read_by_peer_ = bytes;
  }
  // Level-triggered; returns whether there was anything to call for. What it calls may destroy the stream.
  bool tell() {
    if (const auto f = writable_; f && wants_write_ && written_ - read_by_peer_ < window && !network_->busy(rank_)) {
      (*f)();
      return true;
    }
    if (const auto f = readable_; f && (!inbox_.empty() || ended_)) {
      (*f)();
      return true;
    }
    return false;
  }

private:
  const std::shared_ptr<network> network_;
  const std::uint32_t id_;
  const int rank_;
  std::uint32_t peer_id_ = 0;
  std::shared_ptr<std::function<void()>> readable_, writable_;
  std::deque<packet_ptr> inbox_;
  std::uint64_t read_ = 0, told_ = 0;
  std::atomic<std::uint64_t> written_{0};
  std::atomic<std::uint64_t> read_by_peer_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> failed_{false};
  bool ended_ = false;
  bool wants_write_ = false;
  bool ready_ = false; // is on the network's list
};

mpi_transport::network::network(MPI_Comm of) {
  check_mpi(MPI_Comm_dup(of, &comm), "duplicate a communicator");
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  std::uint64_t job = 0;
  if (rank == 0)
    job = std::random_device{}() | std::uint64_t{std::random_device{}()} << 32;
  check_mpi(MPI_Bcast(&job, sizeof job, MPI_BYTE, 0, comm), "send the job's number to all ranks");
  char text[32];
  std::snprintf(text, sizeof text, "mpi-%016llx", static_cast<unsigned long long>(job));
  address_ = text;
  unsent_to_ = std::vector<std::atomic<std::size_t>>(static_cast<std::size_t>(size));
  bells_ = std::make_unique<bells>(comm);
}

mpi_transport::network::~network() {
  for (const auto end = clock::now() + farewell; !in_flight_.empty() && clock::now() < end;)
    finish_sends();
  for (auto& p : in_flight_) {
    MPI_Request_free(&p->request);
    static_cast<void>(p.release()); // MPI may still read it
  }
  for (auto& p : receiving_)
    static_cast<void>(p.release()); // MPI may still write to it
}

void mpi_transport::network::use(loop& l) {
  if (loop_ != nullptr)
    return;
  loop_ = &l;
  l.watch(bells_->socket(), EPOLLIN, [this](std::uint32_t) {
    bells_->drain();
    poll(); // what it rang for may have come since the last time, and a thread that sleeps doesn't look again
  });
  l.set_source(shared_from_this());
}

void mpi_transport::network::leave() {
  on_accept = nullptr;
  for (auto& d : std::exchange(dialled_, {}))
    loop_->cancel(d.second.timer);
  if (loop_ == nullptr)
    return;
  loop_->set_source(nullptr);
  loop_->unwatch(bells_->socket());
  loop_ = nullptr;
}

// -- packets ----------------------------------------------------------------------------------------------------------

packet_ptr mpi_transport::network::new_packet(packet_header h) {
  packet_ptr p;
  {
    auto lock = lock_briefly(mutex_);
    if (!spare_.empty()) {
      p = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (!p)
    p = std::make_unique<packet>();
  p->bytes.resize(sizeof h);
  std::memcpy(p->bytes.data(), &h, sizeof h);
  p->begin = sizeof h;
  return p;
}

void mpi_transport::network::give_back(packet_ptr p) {
  auto lock = lock_briefly(mutex_);
  if (spare_.size() < spare_packets)
    spare_.push_back(std::move(p));
}

bool mpi_transport::network::send(int to, packet_ptr p) {
  const auto bytes = static_cast<int>(p->bytes.size());
  if (MPI_Isend(p->bytes.data(), bytes, MPI_BYTE, to, tag, comm, &p->request) != MPI_SUCCESS) {
    give_back(std::move(p));
    return false;
  }
  int done = 0;
  MPI_Test(&p->request, &done, MPI_STATUS_IGNORE);
  bells_->ring(to);
  if (done != 0) {
    give_back(std::move(p));
    return true;
  }
  p->from = to;
  ++unsent_to_[static_cast<std::size_t>(to)];
  {
    auto lock = lock_briefly(mutex_);
    in_flight_.push_back(std::move(p));
    in_flight_now_ = in_flight_.size();
  }
  bells_->ring(rank); // a thread of this process may sleep, and MPI goes on only if it is asked
  return true;
}

bool mpi_transport::network::finish_sends() {
  if (in_flight_now_.load(std::memory_order_relaxed) == 0)
    return false;
  std::vector<packet_ptr> finished;
  {
    auto lock = lock_briefly(mutex_);
    std::erase_if(in_flight_, [&](packet_ptr& p) {
      int done = 0;
      MPI_Test(&p->request, &done, MPI_STATUS_IGNORE);
      if (done == 0)
        return false;
      finished.push_back(std::move(p));
      return true;
    });
    in_flight_now_ = in_flight_.size();
  }
  for (auto& p : finished) {
    --unsent_to_[static_cast<std::size_t>(p->from)];
    bells_->ring(p->from); // it may have come in pieces, and be there only now
    give_back(std::move(p));
  }
  return !finished.empty();
}

bool mpi_transport::network::receive() {
  bool any = false;
  for (int i = 0; i < packets_at_once; ++i) {
    int there = 0;
    MPI_Message message;
    MPI_Status status;
    for (int looks = any ? 1 : most_looks; looks > 0 && there == 0; --looks)
      if (MPI_Improbe(MPI_ANY_SOURCE, tag, comm, &there, &message, &status) != MPI_SUCCESS)
        return any;
    if (there == 0)
      break;
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    auto p = new_packet({});
    p->from = status.MPI_SOURCE;
    p->bytes.resize(static_cast<std::size_t>(bytes));
    any = true;
    if (bytes <= here_already && receiving_.empty()) {
      // not MPI_Mrecv: a thread of mpi_do's that waits in the loop would take it for one of its function's, which may be ended (mpi_twins)
      PMPI_Mrecv(p->bytes.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
      take(std::move(p));
      continue;
    }
    MPI_Imrecv(p->bytes.data(), bytes, MPI_BYTE, &message, &p->request);
    receiving_.push_back(std::move(p));
  }
  while (!receiving_.empty()) {
    int done = 0;
    MPI_Test(&receiving_.front()->request, &done, MPI_STATUS_IGNORE);
    if (done == 0)
      break;
    auto p = std::move(receiving_.front());
    receiving_.pop_front();
    take(std::move(p));
    any = true;
  }
  return any;
}

mpi_transport::network::stream* mpi_transport::network::find(std::uint32_t id, int from) {
  const auto i = streams_.find(id);
  return i == streams_.end() || i->second->rank() != from ? nullptr : i->second;
}

void mpi_transport::network::take(packet_ptr p) {
  if (p->bytes.size() < sizeof(packet_header))
    return give_back(std::move(p));
  const auto h = header_of(*p);
  const auto from = p->from;
  if (h.kind == packet_kind::open) {
    if (!on_accept)
      return send_header(from, {packet_kind::refused, h.stream, 0});
    auto s = add_stream(from);
    auto& accepted = static_cast<stream&>(*s);
    accepted.set_peer(h.stream);
    send_header(from, {packet_kind::opened, h.stream, accepted.id()});
    return on_accept(std::move(s));
  }
  const auto s = find(h.stream, from);
  if (s == nullptr) { // what was on its way when its stream ended
    if (h.kind == packet_kind::opened)
      send_header(from, {packet_kind::close, static_cast<std::uint32_t>(h.value), 0});
    return;
  }
  if (h.kind == packet_kind::data)
    s->arrived(std::move(p));
  else if (h.kind == packet_kind::read)
    s->read_by_peer(h.value);
  else if (h.kind == packet_kind::close)
    s->end();
  else
    answer(h.stream, h.kind == packet_kind::opened, h.value);
}

bool mpi_transport::network::poll() {
  bool any = finish_sends();
  any = receive() || any;
  any = tell() || any;
  if (any)
    nap_ = first_nap;
  return any;
}

// Calls for the streams that have something to read, or want to write.
bool mpi_transport::network::tell() {
  if (ready_.empty())
    return false;
  bool any = false;
  std::vector<std::uint32_t> now;
  now.swap(ready_);
  for (auto id : now)
    if (const auto s = streams_.find(id); s != streams_.end()) {
      s->second->no_longer_ready();
      any = s->second->tell() || any;
      if (const auto again = streams_.find(id); again != streams_.end() && again->second->has_something())
        again->second->be_ready();
    }
  return any;
}

clock::duration mpi_transport::network::rest() {
  bells_->sleeps(true);
  const bool any = receive();
  if (tell() || any)
    return clock::duration::zero();
  if (bells_->all_here() && in_flight_now_ == 0 && receiving_.empty())
    return clock::duration::max();
  return std::exchange(nap_, std::min(2 * nap_, longest_nap));
}

// -- streams ------------------------------------------------------------------------------------------------------------

std::unique_ptr<byte_stream> mpi_transport::network::add_stream(int to) {
  auto s = std::make_unique<stream>(shared_from_this(), ++last_id_, to);
  streams_[s->id()] = s.get();
  return s;
}

void mpi_transport::network::forget(std::uint32_t id) { streams_.erase(id); }

void mpi_transport::network::dial(int to, std::chrono::milliseconds limit, dial_handler done) {
  auto s = add_stream(to);
  const auto id = static_cast<stream&>(*s).id();
  const auto timer = loop_->call_after(limit, [this, id, to, limit] {
    auto late = dialled_.extract(id);
    if (!late.empty())
      late.mapped().done(
        {nullptr, "no answer from rank " + std::to_string(to) + " within " + std::to_string(limit.count()) + " ms", false});
  });
  dialled_[id] = {std::move(s), std::move(done), timer};
  send_header(to, {packet_kind::open, id, 0});
}

void mpi_transport::network::answer(std::uint32_t id, bool opened, std::uint64_t number) {
  auto found = dialled_.extract(id);
  if (found.empty())
    return;
  auto& d = found.mapped();
  loop_->cancel(d.timer);
  if (!opened)
    return d.done({nullptr, "rank " + std::to_string(static_cast<stream&>(*d.stream).rank()) + " lets nobody in", true});
  static_cast<stream&>(*d.stream).set_peer(static_cast<std::uint32_t>(number));
  d.done({std::move(d.stream), {}, false});
}

// -- the transport --------------------------------------------------------------------------------------------------------

mpi_transport::mpi_transport(MPI_Comm of) : network_(std::make_shared<network>(of)) {}

mpi_transport::~mpi_transport() { network_->leave(); }

int mpi_transport::rank() const { return network_->rank; }

int mpi_transport::size() const { return network_->size; }

MPI_Comm mpi_transport::communicator() const { return network_->comm; }

void mpi_transport::drain(MPI_Comm communicator) {
  while (true) {
    int there = 0, bytes = 0;
    MPI_Message message;
    MPI_Status status;
    if (MPI_Improbe(MPI_ANY_SOURCE, tag, communicator, &there, &message, &status) != MPI_SUCCESS || there == 0)
      return;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    byte_buffer dropped(static_cast<std::size_t>(bytes));
    MPI_Mrecv(dropped.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
  }
}

endpoint mpi_transport::listen(loop& l, const endpoint&, acceptor on_accept) {
  network_->use(l);
  network_->on_accept = std::move(on_accept);
  return {network_->address(), static_cast<std::uint16_t>(network_->rank)};
}

void mpi_transport::dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) {
  if (to.address != network_->address() || to.port >= network_->size)
    return done(
      {nullptr, to.to_text() + " is no rank of this MPI job, " + network_->address() + " with " + std::to_string(network_->size) + " ranks",
       true});
  network_->use(l);
  network_->dial(to.port, limit, std::move(done));
}

} // namespace troupe
