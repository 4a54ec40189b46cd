// The bytes that a session receives after the introduction. First the sizes of the pieces; the first piece came with the hello.
// Headers get their checksums here, or hardly a mutation would come any further.
#include "fuzz/input.hpp"
#include "fuzz/scripted_stream.hpp"

#include "troupe/transport/error.hpp"
#include "troupe/transport/session.hpp"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using troupe::frame_header;
using view = std::span<const std::byte>;

namespace {

// Reads each frame as its receiver would, as far as its kind is known here.
struct watcher final : troupe::session::observer {
  void frame_arrived(troupe::session&, troupe::frame_view& f) override {
    fuzz::require(ends == 0, "no frame comes after the end");
    fuzz::require(f.header.size == f.payload.size(), "a frame is as long as it says");
    auto lane = static_cast<std::size_t>(f.header.in_lane);
    fuzz::require(lane < troupe::lane_count, "there are three lanes");
    if (f.header.number != 0) {
      fuzz::require(f.header.number > numbers[lane], "frames of a lane are counted");
      numbers[lane] = f.header.number;
    }
    troupe::reader in{f.payload};
    if (f.header.kind == troupe::frame_kind::dial)
      static_cast<void>(troupe::read<std::pair<troupe::proc_id, troupe::proc_id>>(in));
    else if (f.header.kind == troupe::frame_kind::members_seen)
      static_cast<void>(in.get<std::uint64_t>());
    else
      in.take(in.left());
    in.expect_end();
    kept = std::move(f); // as a message that waits for its turn
  }

  void link_ended(troupe::session&, const std::string& why, bool) override {
    fuzz::require(!why.empty(), "an end has a reason");
    ++ends;
  }

  int ends = 0;
  std::uint64_t numbers[troupe::lane_count] = {};
  troupe::frame_view kept;
};

// A value that claims more than this is left out: its memory is asked for, though not touched, before it comes.
constexpr std::uint64_t most_claimed = 1 << 20;

std::vector<std::byte> sealed(view in) {
  std::vector<std::byte> out(in.begin(), in.end());
  frame_header h;
  for (std::size_t at = 0; out.size() - at >= sizeof h;) {
    std::memcpy(&h, out.data() + at, sizeof h);
    troupe::seal(h);
    std::memcpy(out.data() + at, &h, sizeof h);
    at += sizeof h;
    std::uint64_t total = 0;
    if (out.size() - at >= sizeof total)
      std::memcpy(&total, out.data() + at, sizeof total);
    if ((h.flags & troupe::frame_flags::first_chunk) != 0 && total > most_claimed && total <= troupe::max_frame_size) {
      out.resize(at - sizeof h);
      break;
    }
    if (h.size > out.size() - at)
      break;
    at += h.size;
  }
  return out;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static troupe::loop loop;
  fuzz::input in{data, size};
  fuzz::pieces cut{in};
  const auto bytes = sealed(in.rest());
  view sent{bytes};
  watcher seen;
  fuzz::scripted_stream::script script;
  script.next = [&] { return cut.cut(sent); };
  script.written = [](view) {};
  auto session = std::make_shared<troupe::session>(loop, 2, seen, troupe::session::limits{});
  session->attach(std::make_unique<fuzz::scripted_stream>(script), cut.cut(sent), {});
  fuzz::run(script, [&] { return script.closed; });
  fuzz::require(seen.ends == 1, "the link ends once, at the latest with its stream");
  seen.kept = {};
  session->close();
  while (loop.step()) {
    // what it posted
  }
  return 0;
}
