#include "troupe/actors/array_layout.hpp"

#include "troupe/transport/error.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace troupe {

placement placement::on(std::vector<proc_id> ids) const {
  if (kind_ == how::custom)
    throw usage_error{"placement::custom(f): the processes are f's to choose, on(ids) goes with block and cyclic"};
  if (ids.empty())
    throw usage_error{"a placement on no processes"};
  auto sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
    throw usage_error{"a placement on process " + std::to_string(*twice) + " twice"};
  auto out = *this;
  out.processes_ = std::move(ids);
  return out;
}

proc_id placement::choose(const array_index& i) const {
  if (dimensions_ != 0 && dimensions_ != i.size())
    throw usage_error{"placement::custom(f): f takes " + std::to_string(dimensions_) + " numbers, the array has " + std::to_string(i.size())
                      + (i.size() == 1 ? " dimension" : " dimensions")};
  return chosen_(i);
}

array_layout::array_layout(const array_extents& extents, const placement& where, const std::vector<proc_id>& workers,
                           const std::function<void(proc_id)>& check)
  : extents_(extents), kind_(where.kind()), hosts_(where.processes().empty() ? workers : where.processes()) {
  if (extents_ == 0)
    throw usage_error{"an array of 0 elements: there must be at least one in each dimension"};
  if (kind_ != placement::how::custom) {
    if (hosts_.empty())
      throw_error(make_error_info(error_kind::no_workers, "an array needs a worker to live on, and there is none"));
    for (auto id : hosts_)
      check(id);
    hosts_.resize(std::min(hosts_.size(), size()));
    return;
  }
  hosts_.clear();
  owners_.reserve(size());
  std::unordered_map<proc_id, std::uint32_t> known;
  for (std::size_t i = 0; i < size(); ++i) {
    const auto id = where.choose(array_index::at(i, extents_));
    const auto [at, first] = known.try_emplace(id, static_cast<std::uint32_t>(hosts_.size()));
    if (first) {
      try {
        check(id);
      } catch (const error& e) {
        auto why = e.info();
        why.message = "the placement puts element " + to_string(array_index::at(i, extents_)) + " on process " + std::to_string(id) + ": "
                      + why.message;
        throw_error(std::move(why));
      }
      hosts_.push_back(id);
    }
    owners_.push_back(at->second);
  }
}

// The first size % p of p hosts have one more than the others.
std::size_t array_layout::host_of(std::size_t position) const {
  const auto p = hosts_.size();
  switch (kind_) {
    case placement::how::cyclic:
      return position % p;
    case placement::how::custom:
      return owners_[position];
    case placement::how::block:
      break;
  }
  const auto least = size() / p;
  const auto in_larger = (size() % p) * (least + 1);
  return position < in_larger ? position / (least + 1) : size() % p + (position - in_larger) / least;
}

array_positions array_layout::positions_on(proc_id id) const {
  const auto at = std::find(hosts_.begin(), hosts_.end(), id);
  if (at == hosts_.end())
    return {};
  const auto p = hosts_.size();
  const auto host = static_cast<std::size_t>(at - hosts_.begin());
  const auto least = size() / p;
  const auto larger = size() % p;
  const auto count = least + (host < larger ? 1 : 0);
  if (kind_ == placement::how::block)
    return {host * least + std::min(host, larger), 1, count};
  if (kind_ == placement::how::cyclic)
    return {host, p, count};
  std::vector<std::uint32_t> list;
  for (std::size_t i = 0; i < size(); ++i)
    if (owners_[i] == host)
      list.push_back(static_cast<std::uint32_t>(i));
  return array_positions{std::move(list)};
}

std::size_t array_positions::own(std::size_t position) const {
  if (!list_.empty()) {
    const auto at = std::lower_bound(list_.begin(), list_.end(), position);
    return at != list_.end() && *at == position ? static_cast<std::size_t>(at - list_.begin()) : count_;
  }
  if (position < first_ || (position - first_) % stride_ != 0)
    return count_;
  return std::min((position - first_) / stride_, count_);
}

placement array_layout::as_placement() const {
  placement out{kind_};
  out.processes_ = hosts_;
  if (kind_ == placement::how::custom)
    out.chosen_ = [x = *this](const array_index& i) { return x.where(i.position_in(x.extents())); };
  return out;
}

void array_layout::write(writer& out) const {
  out.put(static_cast<std::uint8_t>(extents_.size()));
  for (auto n : extents_)
    out.put(static_cast<std::uint64_t>(n));
  out.put(kind_);
  troupe::write(out, hosts_);
  if (kind_ == placement::how::custom)
    troupe::write(out, owners_);
}

array_layout array_layout::read(reader& in) {
  const auto dimensions = in.get<std::uint8_t>();
  if (dimensions < 1 || dimensions > array_extents::most_dimensions)
    throw codec_error{"an array of " + std::to_string(dimensions) + " dimensions"};
  std::array<std::int64_t, array_extents::most_dimensions> sizes{1, 1, 1};
  for (std::size_t d = 0; d < dimensions; ++d)
    sizes[d] = in.get<std::int64_t>();
  array_layout out;
  try {
    out.extents_ = array_extents{sizes, dimensions};
  } catch (const usage_error& e) {
    throw codec_error{e.what()};
  }
  out.kind_ = in.get<placement::how>();
  if (out.kind_ > placement::how::custom)
    throw codec_error{"an array with placement " + std::to_string(static_cast<int>(out.kind_))};
  troupe::read(in, out.hosts_);
  if (out.hosts_.empty() || out.hosts_.size() > out.size())
    throw codec_error{"an array of " + std::to_string(out.size()) + " elements on " + std::to_string(out.hosts_.size()) + " processes"};
  auto sorted = out.hosts_;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.front() <= 0 || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    throw codec_error{"an array on a process that there can't be, or on one twice"};
  if (out.kind_ == placement::how::custom) {
    troupe::read(in, out.owners_);
    if (out.owners_.size() != out.size()
        || std::any_of(out.owners_.begin(), out.owners_.end(), [&](std::uint32_t host) { return host >= out.hosts_.size(); }))
      throw codec_error{"an array with a list of processes that isn't its elements'"};
  }
  return out;
}

} // namespace troupe
