#include "bench/figure.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>

namespace bench {

namespace {

std::string in_short(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return text;
}

// More digits than this are noise.
double rounded(double x) { return std::strtod(in_short(x).c_str(), nullptr); }

nlohmann::ordered_json to_value(const figure::field_value& x) {
  if (auto number = std::get_if<double>(&x))
    return rounded(*number);
  return std::visit([](const auto& held) { return nlohmann::ordered_json(held); }, x);
}

std::string to_text(const figure::field_value* x) {
  if (x == nullptr)
    return "-";
  if (auto number = std::get_if<double>(x))
    return in_short(*number);
  if (auto count = std::get_if<std::int64_t>(x))
    return std::to_string(*count);
  return "?";
}

// "10.1 - 20.5": where most or all of the samples lie.
std::string spread(const figure& f) {
  for (auto [low, high] : {std::pair{"p10", "p90"}, std::pair{"min", "max"}})
    if (f.find(low) != nullptr && f.find(high) != nullptr)
      return to_text(f.find(low)) + " - " + to_text(f.find(high));
  return "-";
}

} // namespace

figure& figure::set(const std::string& name, field_value x) {
  auto i = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.first == name; });
  if (i == fields.end())
    fields.emplace_back(name, std::move(x));
  else
    i->second = std::move(x);
  return *this;
}

const figure::field_value* figure::find(const std::string& name) const {
  auto i = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.first == name; });
  return i == fields.end() ? nullptr : &i->second;
}

std::string to_json(const figure& f) {
  nlohmann::ordered_json line;
  line["metric"] = f.metric;
  line["value"] = rounded(f.value);
  line["unit"] = f.unit;
  for (const auto& [name, x] : f.fields)
    line[name] = to_value(x);
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void table::add(const figure& f) {
  const auto add_row = [this](const std::string& metric, const std::string& value, const std::string& unit, const std::string& raw,
                              const std::string& raw_spin, const std::string& spread, const std::string& n) {
    std::fprintf(out_, "%-14s %10s %-4s %10s %10s %24s %8s\n", metric.c_str(), value.c_str(), unit.c_str(), raw.c_str(), raw_spin.c_str(),
                 spread.c_str(), n.c_str());
  };
  if (!begun_)
    add_row("metric", "value", "unit", "raw", "raw spin", "spread", "n");
  begun_ = true;
  add_row(f.metric, in_short(f.value), f.unit, to_text(f.find("raw")), to_text(f.find("raw_spin")), spread(f), to_text(f.find("n")));
}

std::string in_words(double value, const std::string& unit) {
  const bool is_rate = unit == "1/s";
  const char* prefix = "";
  if (is_rate)
    for (const auto next : {"k", "M", "G"})
      if (value >= 1000) {
        value /= 1000;
        prefix = next;
      }
  char text[64];
  const int digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  std::snprintf(text, sizeof text, "%.*f %s%s", digits, value, prefix, is_rate ? "/s" : unit.c_str());
  return text;
}

void plain_table::add(const figure& f, const std::string& meaning) {
  if (!begun_)
    std::fprintf(out_, "%-18s %11s %11s   %s\n", "metric", "troupe", "bare", "what it is");
  begun_ = true;
  const auto raw = f.find("raw");
  const auto number = raw == nullptr ? nullptr : std::get_if<double>(raw);
  std::fprintf(out_, "%-18s %11s %11s   %s\n", f.metric.c_str(), in_words(f.value, f.unit).c_str(),
               number == nullptr ? "" : in_words(*number, f.unit).c_str(), meaning.c_str());
  std::fflush(out_);
}

bool plain_table::end() {
  std::fprintf(
    out_, "Each is the median of what was measured; bare is the same done by plain sockets, processes or MPI calls, without troupe.\n");
  return std::fflush(out_) == 0 && std::ferror(out_) == 0;
}

} // namespace bench
