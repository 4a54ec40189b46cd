#pragma once

#include "troupe/transport/message_types.hpp"
#include "troupe/transport/received_message.hpp"

#include <caf/message.hpp>

#include <cstddef>

namespace fuzz {

/// The elements of a message, as its frame carries them.
struct elements {
  caf::message content;
};

/// Handles without a cluster: as many bytes as handles have, and nobody behind them.
class no_actors final : public troupe::actor_codec {
public:
  void write(troupe::writer& out, const caf::strong_actor_ptr&) override {
    const std::byte none[size] = {};
    out.raw(none, size);
  }

  caf::strong_actor_ptr read(troupe::reader& in) override {
    in.take(size);
    return nullptr;
  }

private:
  static constexpr std::size_t size = 12;
};

} // namespace fuzz

template <>
struct troupe::codec<fuzz::elements> {
  static void write(writer& w, const fuzz::elements& x) { write_elements(w, x.content); }

  static void read(reader& r, fuzz::elements& x) {
    static_cast<void>(needs_user_code(r, known_message_types()));
    x.content = received_message::read(r, known_message_types())->move_content_to_message();
  }
};
