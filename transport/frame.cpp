#include "troupe/transport/frame.hpp"

#include <cstring>

namespace troupe {

std::string to_string(frame_kind kind) {
  switch (kind) {
    case frame_kind::hello:
      return "hello";
    case frame_kind::refusal:
      return "refusal";
    case frame_kind::heartbeat:
      return "heartbeat";
    case frame_kind::goodbye:
      return "goodbye";
    case frame_kind::acknowledgement:
      return "acknowledgement";
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
    case frame_kind::call:
      return "call";
    case frame_kind::reply:
      return "reply";
    case frame_kind::cancel:
      return "cancel";
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
  }
  return "kind " + std::to_string(static_cast<unsigned>(kind));
}

lane lane_of(frame_kind kind) {
  return kind < frame_kind::call ? lane::control : lane::ordinary;
}

std::string check(const frame_header& h) {
  if (static_cast<std::size_t>(h.in_lane) >= lane_count)
    return "a frame in lane " + std::to_string(static_cast<unsigned>(h.in_lane)) + ", there are "
           + std::to_string(lane_count);
  if (h.size > max_frame_size)
    return "a frame that claims " + std::to_string(h.size) + " bytes, more than the limit of "
           + std::to_string(max_frame_size);
  if (h.flags != 0)
    return "a frame with flags " + std::to_string(h.flags) + ", none is known";
  if (h.stream != 0)
    return "a chunk of stream " + std::to_string(h.stream) + ", which this version doesn't send";
  return {};
}

frame_builder& frame_builder::start(frame_kind kind) {
  kind_ = kind;
  // a builder that has carried something large doesn't keep the memory
  if (data_.capacity() > std::size_t{1} << 20)
    data_ = byte_buffer{};
  data_.resize(sizeof(frame_header));
  return *this;
}

byte_buffer& frame_builder::finish() {
  frame_header h;
  h.size = data_.size() - sizeof h;
  h.kind = kind_;
  h.in_lane = lane_of(kind_);
  std::memcpy(data_.data(), &h, sizeof h);
  return data_;
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
  spare_builders.push_back(std::move(builder_));
}

} // namespace troupe
