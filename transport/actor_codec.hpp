#pragma once

#include "troupe/transport/codec.hpp"

#include <caf/actor.hpp>
#include <caf/actor_addr.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/fwd.hpp>

namespace troupe {

/// Turns actor handles into numbers that mean the same on every process of the cluster, and back.
class actor_codec {
public:
  virtual ~actor_codec() = default;

  /// Writes whose actor it is and its id; an actor of this process can be reached from elsewhere from now on, and lives
  /// until it ends, whoever holds handles.
  virtual void write(writer& out, const caf::strong_actor_ptr& handle) = 0;

  /// An actor of this process, or a proxy. Null for an actor of this process that has ended.
  virtual caf::strong_actor_ptr read(reader& in) = 0;

  /// For a writer or reader without a cluster.
  [[noreturn]] static void throw_outside();
};

template <>
struct codec<caf::strong_actor_ptr> {
  static void write(writer& w, const caf::strong_actor_ptr& x) {
    if (w.actors() == nullptr)
      actor_codec::throw_outside();
    w.actors()->write(w, x);
  }

  static void read(reader& r, caf::strong_actor_ptr& x) {
    if (r.actors() == nullptr)
      actor_codec::throw_outside();
    x = r.actors()->read(r);
  }
};

namespace detail {

// Everything that converts to and from a strong_actor_ptr by actor_cast.
template <class Handle>
struct handle_codec {
  static void write(writer& w, const Handle& x) { codec<caf::strong_actor_ptr>::write(w, caf::actor_cast<caf::strong_actor_ptr>(x)); }

  static void read(reader& r, Handle& x) {
    caf::strong_actor_ptr p;
    codec<caf::strong_actor_ptr>::read(r, p);
    x = caf::actor_cast<Handle>(p);
  }
};

} // namespace detail

template <>
struct codec<caf::actor> : detail::handle_codec<caf::actor> {};

template <>
struct codec<caf::actor_addr> : detail::handle_codec<caf::actor_addr> {};

template <>
struct codec<caf::weak_actor_ptr> : detail::handle_codec<caf::weak_actor_ptr> {};

template <class... Signatures>
struct codec<caf::typed_actor<Signatures...>> : detail::handle_codec<caf::typed_actor<Signatures...>> {};

} // namespace troupe
