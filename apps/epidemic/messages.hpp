#pragma once

#include "epidemic/model.hpp"

#include <troupe/actors.hpp>

#include <cstdint>
#include <vector>

/// What the master and the blocks of an epidemic tell each other, and how it is written on the wire.
namespace epidemic {

/// Master to block: go on up to and with `day`.
struct run_until {
  std::uint32_t day = 0;
};

/// Master to block: the days from `first` up to and with `last`, each once and in order. Answered with
/// results, as soon as they are over.
struct collect {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
};

struct results {
  std::vector<counts> rows;   ///< day by day, the block's places on each
  std::uint64_t messages = 0; ///< what this block has sent to others since it began
};

/// Block to block, one on each day: who comes to the receiver's places in the morning.
struct visits {
  std::uint32_t day = 0;
  std::vector<visit> all;
};

/// Block to block, one on each day: who of the receiver's residents was exposed in the sender's places.
struct exposures {
  std::uint32_t day = 0;
  std::vector<exposure> all;
};

template <class I>
typename I::result_type inspect(I& f, place& x) {
  return f(caf::meta::type_name("epidemic::place"), x.code, x.name, x.population, x.latitude, x.longitude);
}

template <class I>
typename I::result_type inspect(I& f, parameters& x) {
  return f(caf::meta::type_name("epidemic::parameters"), x.days, x.r0, x.incubation, x.infectious, x.travel,
           x.first_case, x.first_count, x.seed);
}

template <class I>
typename I::result_type inspect(I& f, scenario& x) {
  return f(caf::meta::type_name("epidemic::scenario"), x.given, x.places);
}

template <class I>
typename I::result_type inspect(I& f, counts& x) {
  return f(caf::meta::type_name("epidemic::counts"), x.s, x.e, x.i, x.r);
}

template <class I>
typename I::result_type inspect(I& f, visit& x) {
  return f(caf::meta::type_name("epidemic::visit"), x.from, x.to, x.who);
}

template <class I>
typename I::result_type inspect(I& f, exposure& x) {
  return f(caf::meta::type_name("epidemic::exposure"), x.home, x.people);
}

template <class I>
typename I::result_type inspect(I& f, run_until& x) {
  return f(caf::meta::type_name("epidemic::run_until"), x.day);
}

template <class I>
typename I::result_type inspect(I& f, collect& x) {
  return f(caf::meta::type_name("epidemic::collect"), x.first, x.last);
}

template <class I>
typename I::result_type inspect(I& f, results& x) {
  return f(caf::meta::type_name("epidemic::results"), x.rows, x.messages);
}

template <class I>
typename I::result_type inspect(I& f, visits& x) {
  return f(caf::meta::type_name("epidemic::visits"), x.day, x.all);
}

template <class I>
typename I::result_type inspect(I& f, exposures& x) {
  return f(caf::meta::type_name("epidemic::exposures"), x.day, x.all);
}

} // namespace epidemic
