#include "troupe/managers/spread_tree.hpp"

#include <cstddef>
#include <utility>

namespace troupe {

std::vector<spread_branch> branches_of(const std::vector<proc_id>& ids) {
  std::vector<spread_branch> out;
  const auto half = static_cast<std::ptrdiff_t>((ids.size() + 1) / 2);
  for (auto [begin, end] : {std::pair{ids.begin(), ids.begin() + half}, std::pair{ids.begin() + half, ids.end()}})
    if (begin != end)
      out.push_back({*begin, {begin + 1, end}});
  return out;
}

std::vector<spread_branch> spread_tree::add(const std::vector<proc_id>& ids) {
  auto out = branches_of(ids);
  add_branches(master_id, out);
  return out;
}

void spread_tree::add_branches(proc_id from, const std::vector<spread_branch>& branches) {
  for (auto& b : branches) {
    sender_[b.first] = from;
    add_branches(b.first, branches_of(b.others));
  }
}

proc_id spread_tree::sender_of(proc_id id) const {
  const auto i = sender_.find(id);
  return i == sender_.end() ? master_id : i->second;
}

std::vector<proc_id> spread_tree::below(proc_id id) const {
  std::vector<proc_id> out;
  for (auto& [to, from] : sender_) {
    auto above = from;
    while (above != id && above != master_id)
      above = sender_of(above);
    if (above == id && id != master_id)
      out.push_back(to);
  }
  return out;
}

} // namespace troupe
