#pragma once

#include "epidemic/places.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

/// A stochastic SEIR epidemic in places that people travel between, in steps of a day.
///
/// In the morning some residents of each place leave for a day elsewhere: each one with probability `travel`,
/// to place j with a probability proportional to P_j / d_ij^2 (a gravity model constrained at the origin; A.
/// G. Wilson, "A family of spatial interaction models", Environment and Planning 3 (1971) 1-32). During the
/// day each susceptible present in a place is exposed with probability 1 - exp(-beta I / N), where I of the N
/// people present are infectious. In the evening all go home, where who was exposed or infectious before that
/// day moves on with probability 1 - exp(-1 / period). So every place has its census population every night.
///
/// Time goes in whole days, which makes infectious people stay so for 1 / (1 - exp(-1 / infectious)) days on
/// average. beta is R0 divided by that, so that R0 is exactly the number of people whom one infects among
/// susceptibles only.
namespace epidemic {

/// People by state: susceptible, exposed, infectious, removed.
struct counts {
  std::int64_t s = 0;
  std::int64_t e = 0;
  std::int64_t i = 0;
  std::int64_t r = 0;

  std::int64_t people() const { return s + e + i + r; }

  counts& operator+=(const counts& x) {
    s += x.s;
    e += x.e;
    i += x.i;
    r += x.r;
    return *this;
  }

  friend bool operator==(const counts&, const counts&) = default;
};

struct parameters {
  std::uint32_t days = 365;
  double r0 = 2.5;
  double incubation = 5;         ///< days, on average, from exposure to being infectious
  double infectious = 7;         ///< days
  double travel = 0.01;          ///< the part of a place's people that spends a day elsewhere
  std::string first_case = "WA"; ///< the code of the place where it starts
  std::int64_t first_count = 10; ///< how many are infectious there on day 0
  std::uint64_t seed = 1;
};

struct scenario {
  parameters given;
  std::vector<place> places;
};

/// Throws std::invalid_argument, which names the option, what came and what was expected, when a parameter is
/// out of range or the place of the first case is not among the places.
void check(const scenario& s);

/// `who` of the residents of `from` spend the day in `to`; both are positions in scenario::places.
struct visit {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  counts who;
};

/// `people` residents of `home` were exposed on a day, somewhere.
struct exposure {
  std::uint32_t home = 0;
  std::int64_t people = 0;
};

/// Which of `blocks` (1 to `places`) each place belongs to: neighbours in the list stay together, and sizes
/// differ by at most one.
class partition {
public:
  partition(std::size_t places, std::size_t blocks) : places_(places), blocks_(blocks) {}

  std::size_t blocks() const { return blocks_; }
  std::size_t first(std::size_t block) const { return block * places_ / blocks_; }
  std::size_t last(std::size_t block) const { return first(block + 1); } ///< one past the end
  std::size_t block_of(std::size_t place) const { return ((place + 1) * blocks_ - 1) / places_; }

private:
  std::size_t places_;
  std::size_t blocks_;
};

/// The places from `first` up to but without `last`, and their residents. A day is depart, mix and settle, in
/// this order, with every block's visits and exposures carried to where they belong in between. The outcome
/// depends neither on how the places are divided into blocks nor on the order of what is carried.
class block {
public:
  block(const scenario& s, std::size_t first, std::size_t last);

  /// Those who leave these places on `day` (from 1), for any place.
  std::vector<visit> depart(std::uint32_t day);

  /// The day in these places with the visitors who came: `arrivals` are all the visits to them, from all
  /// blocks. Returns who was exposed here, with at most one entry for each home.
  std::vector<exposure> mix(std::uint32_t day, std::span<const visit> arrivals);

  /// The evening: `exposures` are those of this block's residents, from all blocks.
  void settle(std::uint32_t day, std::span<const exposure> exposures);

  /// The residents by state, in the order of the places.
  const std::vector<counts>& residents() const { return residents_; }

private:
  std::uint64_t seed_;
  double travel_;
  double beta_;       // exposures a day by one infectious person among susceptibles
  double onset_;      // probabilities, for a day
  double recovery_;
  std::size_t first_;
  std::vector<std::int64_t> populations_; // of all places
  std::vector<counts> residents_;
  std::vector<counts> staying_;           // residents who have not left on this day
  std::vector<double> pull_;              // gravity, residents' place by place of destination
};

/// What became of all places: day 0, and as many days more as there are.
class trajectory {
public:
  explicit trajectory(std::size_t places) : places_(places) {}

  std::size_t places() const { return places_; }
  /// The last day.
  std::uint32_t days() const { return static_cast<std::uint32_t>(rows_.size() / places_) - 1; }
  const counts& at(std::uint32_t day, std::size_t place) const { return rows_[day * places_ + place]; }
  counts total(std::uint32_t day) const;

  /// Makes room up to and with `day`.
  void extend_to(std::uint32_t day) { rows_.resize((std::size_t{day} + 1) * places_); }
  /// Sets the places from `first` on, as many as there are in `values`.
  void set(std::uint32_t day, std::size_t first, std::span<const counts> values);

private:
  std::size_t places_;
  std::vector<counts> rows_;
};

/// The whole epidemic in this thread, with the places in so many blocks. `on_day`, if there is one, is called
/// after each day. It is what a run on a cluster must give, to the last digit.
trajectory run_here(const scenario& s, std::size_t blocks = 1, const std::function<void(std::uint32_t day)>& on_day = {});

} // namespace epidemic
