#include "troupe/managers/named_frames.hpp"

namespace troupe {

namespace {

// What is smaller is copied out of the buffer that it came in, which it may share with other frames.
constexpr std::size_t least_kept = 256 << 10;

detail::shared_bytes kept(std::span<const std::byte> bytes, const frame_view& f) {
  if (bytes.size() >= least_kept)
    return {bytes, f.owner};
  auto copy = std::make_shared<const byte_buffer>(copy_of(bytes));
  return {*copy, copy};
}

} // namespace

void send_named(mesh& net, const named_value& v, const spread_branch& to) {
  frame_builder f;
  auto& out = f.start(frame_kind::named).out();
  write(out, named_header{v.number, v.name, v.type, to.others});
  write(out, static_cast<std::uint64_t>(v.encoded.bytes.size()));
  {
    writer::referring scope{out, v.encoded.keeper};
    out.block(v.encoded.bytes.data(), v.encoded.bytes.size());
  }
  net.send(to.first, f, urgency::now); // if it is gone, the master knows, and sends to the others itself
}

named_value receive_named(mesh& net, const frame_view& f) {
  reader in{f.payload};
  auto h = read<named_header>(in);
  named_value v{h.number, std::move(h.name), std::move(h.type), kept(in.take(in.get_length(1)), f)};
  in.expect_end();
  for (auto& branch : branches_of(h.others))
    send_named(net, v, branch);
  return v;
}

} // namespace troupe
