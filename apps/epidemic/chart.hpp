#pragma once

#include "epidemic/model.hpp"

#include <string>

namespace epidemic {

/// A picture of a run, 1200 by 750 pixels: how many people are susceptible, exposed, infectious and removed
/// on each day. Returns the bytes of a PNG file. Throws std::runtime_error when cairo fails.
std::string draw_chart(const trajectory& t, const scenario& s);

/// The distance between the ticks of an axis that goes from 0 to `most`: 1, 2 or 5 times a power of ten, so
/// that there are at most `ticks` steps. `most` > 0.
double tick_step(double most, int ticks);

/// A number of people as an axis shows it: 0, 500, 20k, 150M, 2.5M.
std::string people_label(double people);

} // namespace epidemic
