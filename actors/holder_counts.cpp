#include "troupe/actors/holder_counts.hpp"

#include <algorithm>
#include <set>

namespace troupe {

holder_counts::cell& holder_counts::at(proc_id from, proc_id holder) {
  const auto i = std::find_if(cells_.begin(), cells_.end(), [&](auto& c) { return c.from == from && c.holder == holder; });
  return i != cells_.end() ? *i : cells_.emplace_back(cell{from, holder, 0, false});
}

void holder_counts::add(proc_id from, proc_id holder, std::int64_t n, bool from_gone) {
  auto& c = at(from, holder);
  if (c.settled && n > 0)
    return;
  c.n += n;
  if (c.n < 0 && (from_gone || c.settled))
    c.n = 0;
  if (c.n == 0 && (from_gone || !c.settled))
    cells_.erase(cells_.begin() + (&c - cells_.data()));
}

void holder_counts::settle(proc_id from, proc_id holder, std::int64_t left, bool from_gone) {
  auto& c = at(from, holder);
  c.n = left;
  c.settled = true;
  if (left == 0 && from_gone)
    cells_.erase(cells_.begin() + (&c - cells_.data()));
}

bool holder_counts::forget(proc_id id) {
  const auto i = std::remove_if(cells_.begin(), cells_.end(), [id](auto& c) { return c.holder == id || (c.from == id && c.n <= 0); });
  const bool any = i != cells_.end();
  cells_.erase(i, cells_.end());
  return any;
}

std::vector<proc_id> holder_counts::unsettled(proc_id from) const {
  std::vector<proc_id> out;
  for (auto& c : cells_)
    if (c.from == from && !c.settled && c.n > 0)
      out.push_back(c.holder);
  return out;
}

bool holder_counts::none() const {
  return std::none_of(cells_.begin(), cells_.end(), [](auto& c) { return c.n != 0; });
}

std::vector<proc_id> holder_counts::holders() const {
  std::set<proc_id> out;
  for (auto& c : cells_)
    if (c.n > 0)
      out.insert(c.holder);
  return {out.begin(), out.end()};
}

} // namespace troupe
