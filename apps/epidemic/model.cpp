#include "epidemic/model.hpp"

#include "epidemic/binomial.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace epidemic {

namespace {

/// Two places at one point would attract each other without limit.
constexpr double least_distance_km = 10;

template <class T>
void expect_range(const char* option, T value, T least, T most) {
  if (value >= least && value <= most) // false for NaN
    return;
  std::ostringstream text;
  text << option << ": " << value << " is out of range, expected " << least << " to " << most;
  throw std::invalid_argument(text.str());
}

std::size_t position_of_first_case(const scenario& s) {
  const auto found = std::find_if(s.places.begin(), s.places.end(), [&](const place& p) { return p.code == s.given.first_case; });
  if (found == s.places.end()) {
    std::string text = "--first-case: there is no place '" + s.given.first_case + "', expected one of";
    constexpr std::size_t most = 60;
    for (std::size_t i = 0; i < std::min(most, s.places.size()); ++i)
      text += ' ' + s.places[i].code;
    throw std::invalid_argument(text + (s.places.size() > most ? " …" : ""));
  }
  return static_cast<std::size_t>(found - s.places.begin());
}

double daily_probability(double mean_days) { return -std::expm1(-1 / mean_days); }

/// Draws from `from`, without taking them out, those who go on a journey.
counts draw_each(random_stream& random, const counts& from, double p) {
  counts out;
  out.s = binomial(random, from.s, p);
  out.e = binomial(random, from.e, p);
  out.i = binomial(random, from.i, p);
  out.r = binomial(random, from.r, p);
  return out;
}

counts operator-(const counts& a, const counts& b) { return {a.s - b.s, a.e - b.e, a.i - b.i, a.r - b.r}; }

} // namespace

void check(const scenario& s) {
  const auto& given = s.given;
  expect_range<std::uint32_t>("--days", given.days, 1, 36500);
  expect_range("--r0", given.r0, 0.0, 100.0);
  expect_range("--incubation", given.incubation, 0.1, 1000.0);
  expect_range("--infectious", given.infectious, 0.1, 1000.0);
  expect_range("--travel", given.travel, 0.0, 1.0);
  const auto& first = s.places[position_of_first_case(s)];
  expect_range<std::int64_t>("--first-count", given.first_count, 1, first.population);
}

block::block(const scenario& s, std::size_t first, std::size_t last)
  : seed_(s.given.seed),
    travel_(s.places.size() > 1 ? s.given.travel : 0),
    beta_(s.given.r0 * daily_probability(s.given.infectious)),
    onset_(daily_probability(s.given.incubation)),
    recovery_(daily_probability(s.given.infectious)),
    first_(first) {
  for (const auto& p : s.places)
    populations_.push_back(p.population);
  for (std::size_t from = first; from < last; ++from) {
    residents_.push_back({.s = populations_[from]});
    for (const auto& to : s.places) {
      const double d = std::max(distance_km(s.places[from], to), least_distance_km);
      pull_.push_back(&to == &s.places[from] ? 0 : static_cast<double>(to.population) / (d * d));
    }
  }
  const auto start = position_of_first_case(s);
  if (start >= first && start < last) {
    residents_[start - first].s -= s.given.first_count;
    residents_[start - first].i += s.given.first_count;
  }
  staying_ = residents_;
}

std::vector<visit> block::depart(std::uint32_t day) {
  const std::size_t places = populations_.size();
  std::vector<visit> visits;
  for (std::size_t k = 0; k < residents_.size(); ++k) {
    const auto from = static_cast<std::uint32_t>(first_ + k);
    random_stream random{seed_, from, day, purpose::departures};
    counts travellers = draw_each(random, residents_[k], travel_);
    staying_[k] = residents_[k] - travellers;
    // A multinomial draw, one destination after the other: who has not gone to an earlier one goes to this
    // one with its share of the pull of all that are left.
    const double* pull = &pull_[k * places];
    std::vector<double> left(places + 1);
    for (std::size_t to = places; to-- > 0;)
      left[to] = left[to + 1] + pull[to];
    for (std::uint32_t to = 0; to < places && travellers.people() > 0; ++to) {
      if (to == from)
        continue;
      const counts who = draw_each(random, travellers, pull[to] / left[to]);
      travellers = travellers - who;
      if (who.people() > 0)
        visits.push_back({from, to, who});
    }
  }
  return visits;
}

std::vector<exposure> block::mix(std::uint32_t day, std::span<const visit> arrivals) {
  const std::size_t places = populations_.size();
  // Visitors by host and home, whatever order they came in: the random numbers of a place are used in this
  // one.
  std::vector<counts> visitors(residents_.size() * places);
  auto present = staying_;
  for (const auto& v : arrivals) {
    visitors[(v.to - first_) * places + v.from] += v.who;
    present[v.to - first_] += v.who;
  }
  std::vector<std::int64_t> exposed(places);
  for (std::size_t k = 0; k < residents_.size(); ++k) {
    if (present[k].i == 0)
      continue;
    const auto host = static_cast<std::uint32_t>(first_ + k);
    random_stream random{seed_, host, day, purpose::exposures};
    const double p = -std::expm1(-beta_ * static_cast<double>(present[k].i) / static_cast<double>(present[k].people()));
    exposed[host] += binomial(random, staying_[k].s, p);
    for (std::size_t home = 0; home < places; ++home)
      exposed[home] += binomial(random, visitors[k * places + home].s, p);
  }
  std::vector<exposure> exposures;
  for (std::uint32_t home = 0; home < places; ++home) {
    if (exposed[home] > 0)
      exposures.push_back({home, exposed[home]});
  }
  return exposures;
}

void block::settle(std::uint32_t day, std::span<const exposure> exposures) {
  for (std::size_t k = 0; k < residents_.size(); ++k) {
    random_stream random{seed_, static_cast<std::uint32_t>(first_ + k), day, purpose::progression};
    auto& x = residents_[k];
    const auto onsets = binomial(random, x.e, onset_);
    const auto recoveries = binomial(random, x.i, recovery_);
    x.e -= onsets;
    x.i += onsets - recoveries;
    x.r += recoveries;
  }
  for (const auto& x : exposures) {
    residents_[x.home - first_].s -= x.people;
    residents_[x.home - first_].e += x.people;
  }
}

counts trajectory::total(std::uint32_t day) const {
  counts sum;
  for (std::size_t place = 0; place < places_; ++place)
    sum += at(day, place);
  return sum;
}

void trajectory::set(std::uint32_t day, std::size_t first, std::span<const counts> values) {
  std::copy(values.begin(), values.end(), rows_.begin() + static_cast<std::ptrdiff_t>(day * places_ + first));
}

trajectory run_here(const scenario& s, std::size_t blocks, const std::function<void(std::uint32_t day)>& on_day) {
  const partition parts{s.places.size(), blocks};
  std::vector<block> all;
  trajectory result{s.places.size()};
  auto keep = [&](std::uint32_t day) {
    result.extend_to(day);
    for (std::size_t b = 0; b < blocks; ++b)
      result.set(day, parts.first(b), all[b].residents());
  };
  for (std::size_t b = 0; b < blocks; ++b)
    all.emplace_back(s, parts.first(b), parts.last(b));
  keep(0);
  for (std::uint32_t day = 1; day <= s.given.days; ++day) {
    std::vector<std::vector<visit>> arrivals(blocks);
    for (auto& b : all) {
      for (const auto& v : b.depart(day))
        arrivals[parts.block_of(v.to)].push_back(v);
    }
    std::vector<std::vector<exposure>> exposures(blocks);
    for (std::size_t b = 0; b < blocks; ++b) {
      for (const auto& x : all[b].mix(day, arrivals[b]))
        exposures[parts.block_of(x.home)].push_back(x);
    }
    for (std::size_t b = 0; b < blocks; ++b)
      all[b].settle(day, exposures[b]);
    keep(day);
    if (on_day)
      on_day(day);
  }
  return result;
}

} // namespace epidemic
