#include "troupe/transport/frame.hpp"

#include <cstring>
#include <numeric>

namespace troupe {

std::string to_string(frame_kind kind) {
  switch (kind) {
    case frame_kind::hello:
      return "hello";
    case frame_kind::refusal:
      return "refusal";
    case frame_kind::status:
      return "status";
    case frame_kind::goodbye:
      return "goodbye";
    case frame_kind::dismissal:
      return "dismissal";
    case frame_kind::join:
      return "join";
    case frame_kind::joined:
      return "joined";
    case frame_kind::members:
      return "members";
    case frame_kind::members_seen:
      return "members_seen";
    case frame_kind::leave:
      return "leave";
    case frame_kind::dial:
      return "dial";
    case frame_kind::doubt:
      return "doubt";
    case frame_kind::stalled:
      return "stalled";
    case frame_kind::named:
      return "named";
    case frame_kind::drain:
    case frame_kind::drained:
    case frame_kind::unnamed:
      return "unnamed";
    case frame_kind::named_seen:
      return "named_seen";
    case frame_kind::call:
      return "call";
    case frame_kind::reply:
      return "reply";
    case frame_kind::cancel:
      return "cancel";
    case frame_kind::ask:
      return "ask";
    case frame_kind::counts:
      return "counts";
    case frame_kind::array:
      return "array";
    case frame_kind::message:
      return "message";
    case frame_kind::watch:
      return "watch";
    case frame_kind::down:
      return "down";
    case frame_kind::link:
      return "link";
    case frame_kind::unlink:
      return "unlink";
    case frame_kind::moved:
      return "moved";
    case frame_kind::relay:
      return "relay";
  }
  return "kind " + std::to_string(static_cast<unsigned>(kind));
}

lane lane_of(frame_kind kind) {
  // a named value may be large
  return kind < frame_kind::call && kind != frame_kind::named ? lane::control : lane::ordinary;
}

namespace {

// Mixes three words into one whose every bit depends on all of theirs: a few multiplications, which no frame feels. The
// constants are those of the splitmix64 generator's finalizer (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, OOPSLA 2014).
std::uint32_t checksum_of(const frame_header& h) {
  std::uint64_t words[3];
  std::uint32_t rest;
  std::memcpy(words, &h, sizeof words);
  std::memcpy(&rest, reinterpret_cast<const char*>(&h) + sizeof words, sizeof rest);
  std::uint64_t x = rest + 0x9e3779b97f4a7c15;
  for (auto w : words) {
    x = (x ^ w) * 0xbf58476d1ce4e5b9;
    x ^= x >> 31;
  }
  x *= 0x94d049bb133111eb;
  return static_cast<std::uint32_t>(x >> 32);
}

} // namespace

void seal(frame_header& h) { h.checksum = checksum_of(h); }

std::string check(const frame_header& h) {
  if (h.checksum != checksum_of(h))
    return "bytes that are no frame's header";
  if (static_cast<std::size_t>(h.in_lane) >= lane_count)
    return "a frame in lane " + std::to_string(static_cast<unsigned>(h.in_lane)) + ", there are " + std::to_string(lane_count);
  if (h.size > max_frame_size)
    return "a frame that claims " + std::to_string(h.size) + " bytes, more than the limit of " + std::to_string(max_frame_size);
  using namespace frame_flags;
  constexpr std::uint16_t known = flow_mask | first_chunk | more_chunks | later_chunk | references;
  if ((h.flags & ~known) != 0 || (h.flags & flow_mask) >= flow_count)
    return "a frame with flags " + std::to_string(h.flags) + ", of which some aren't known";
  if (h.chunk() && (h.in_lane != lane::bulk || (h.flags & (first_chunk | later_chunk)) == (first_chunk | later_chunk)))
    return "a chunk with flags " + std::to_string(h.flags) + " in lane " + std::to_string(static_cast<unsigned>(h.in_lane));
  if (!h.chunk() && (h.flags & more_chunks) != 0)
    return "a frame with flags " + std::to_string(h.flags) + " that is no chunk";
  if (h.number == 0 && h.in_lane != lane::control)
    return "a frame without a number in lane " + std::to_string(static_cast<unsigned>(h.in_lane));
  return {};
}

frame_builder& frame_builder::start(frame_kind kind) {
  kind_ = kind;
  // a builder that has carried something large doesn't keep the memory
  if (data_.capacity() > std::size_t{1} << 20)
    data_ = byte_buffer{};
  data_.resize(sizeof(frame_header));
  outside_.clear();
  references_.clear();
  listed_ = false;
  return *this;
}

std::size_t frame_builder::size() const {
  return std::accumulate(outside_.begin(), outside_.end(), data_.size(),
                         [](std::size_t sum, auto& block) { return sum + block.bytes.size(); });
}

byte_buffer& frame_builder::finish_whole() {
  finish();
  if (outside_.empty())
    return data_;
  byte_buffer whole;
  whole.reserve(size());
  std::span<const std::byte> rest = data_;
  std::size_t begin = 0;
  for (auto& block : outside_) {
    append(whole, rest.first(block.at - begin));
    append(whole, block.bytes);
    rest = rest.subspan(block.at - begin);
    begin = block.at;
  }
  append(whole, rest);
  data_ = std::move(whole);
  outside_.clear();
  return data_;
}

byte_buffer& frame_builder::finish() {
  if (!references_.empty() && !std::exchange(listed_, true)) {
    for (auto& r : references_)
      writer_.put(r->id());
    writer_.put(static_cast<std::uint32_t>(references_.size()));
  }
  frame_header h;
  h.flags = listed_ ? frame_flags::references : std::uint16_t{0};
  h.size = size() - sizeof h;
  h.kind = kind_;
  h.in_lane = lane_of(kind_);
  std::memcpy(data_.data(), &h, sizeof h);
  return data_;
}

byte_buffer& frame_builder::finish_sealed() {
  frame_header h;
  std::memcpy(&h, finish().data(), sizeof h);
  seal(h);
  std::memcpy(data_.data(), &h, sizeof h);
  return data_;
}

std::vector<ref_id> take_reference_list(frame_view& f) {
  const auto size = f.payload.size();
  std::uint32_t n = 0;
  if (size < sizeof n)
    throw codec_error{"a frame without the list of references that it should have"};
  std::memcpy(&n, f.payload.data() + size - sizeof n, sizeof n);
  static_assert(sizeof(ref_id) == 16 && std::is_trivially_copyable_v<ref_id>);
  if (n > (size - sizeof n) / sizeof(ref_id))
    throw codec_error{"a list of " + std::to_string(n) + " references in a frame of " + std::to_string(size) + " bytes"};
  const auto list = sizeof n + n * sizeof(ref_id);
  std::vector<ref_id> out(n);
  if (n > 0)
    std::memcpy(out.data(), f.payload.data() + size - list, n * sizeof(ref_id));
  f.payload = f.payload.first(size - list);
  if (f.landed) {
    if (f.landed->behind < list)
      throw codec_error{"a list of references within a block"};
    f.landed->behind -= list;
  }
  return out;
}

namespace {

// What a thread has given back. As many as were in use at once: one for each frame that is built while another is.
thread_local std::vector<std::unique_ptr<frame_builder>> spare_builders;

} // namespace

borrowed_builder::borrowed_builder(actor_codec* actors) {
  if (spare_builders.empty()) {
    builder_ = std::make_unique<frame_builder>(actors);
  } else {
    builder_ = std::move(spare_builders.back());
    spare_builders.pop_back();
    builder_->set_actors(actors);
  }
}

borrowed_builder::~borrowed_builder() {
  builder_->outside().clear();
  builder_->references().clear();
  spare_builders.push_back(std::move(builder_));
}

} // namespace troupe
