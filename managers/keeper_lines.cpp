#include "troupe/managers/keeper_lines.hpp"

#include "troupe/transport/error.hpp"

#include <charconv>
#include <system_error>

namespace troupe {

namespace {

constexpr std::string_view prefix = "troupe_keeper: ";
constexpr std::size_t max_shown = 60;

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;

// -- words: separated by single blanks, which within them are "\s", as a line's end is "\n", a backslash "\\", and nothing at all "\e".

void put_word(std::string& to, std::string_view word) {
  to += ' ';
  if (word.empty())
    to += "\\e";
  for (char c : word)
    if (c == ' ')
      to += "\\s";
    else if (c == '\n')
      to += "\\n";
    else if (c == '\\')
      to += "\\\\";
    else
      to += c;
}

void put_word(std::string& to, std::int64_t n) { put_word(to, std::to_string(n)); }

std::optional<std::string> plain(std::string_view word) {
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '\\') {
      out += word[i];
      continue;
    }
    if (++i == word.size())
      return std::nullopt;
    switch (word[i]) {
      case 's':
        out += ' ';
        break;
      case 'n':
        out += '\n';
        break;
      case '\\':
        out += '\\';
        break;
      case 'e':
        break;
      default:
        return std::nullopt;
    }
  }
  return out;
}

// Takes words off the front of a line. From the first that isn't as expected on, it is bad.
class word_reader {
public:
  explicit word_reader(std::string_view line) : rest_(line) {}

  std::string word() {
    if (at_end_) {
      good_ = false;
      return {};
    }
    const auto end = rest_.find(' ');
    auto out = plain(rest_.substr(0, end));
    at_end_ = end == std::string_view::npos;
    rest_.remove_prefix(at_end_ ? rest_.size() : end + 1);
    good_ = good_ && out.has_value();
    return out.value_or("");
  }

  std::int64_t number(std::int64_t least, std::int64_t most) {
    const auto text = word();
    std::int64_t n = least;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size() || n < least || n > most)
      good_ = false;
    return good_ ? n : least;
  }
  int index() { return static_cast<int>(number(0, 1'000'000)); }

  /// What is left of the line, as it is.
  std::string_view rest() {
    good_ = good_ && !at_end_;
    return rest_;
  }

  bool at_end() const { return at_end_; }
  bool good() const { return good_; }

private:
  std::string_view rest_;
  bool at_end_ = false;
  bool good_ = true;
};

std::string begin(std::string_view verb) { return std::string{prefix} + std::string{verb}; }

constexpr std::int64_t most_words = 100'000;

} // namespace

std::string to_line(const keeper_order& order) {
  return std::visit(overloaded{[](const keeper_cookie& o) {
                                 auto line = begin("cookie");
                                 put_word(line, o.cookie);
                                 return line;
                               },
                               [](const keeper_start& o) {
                                 auto line = begin("start");
                                 put_word(line, o.index);
                                 put_word(line, o.program);
                                 put_word(line, static_cast<std::int64_t>(o.args.size()));
                                 for (auto& arg : o.args)
                                   put_word(line, arg);
                                 for (auto& [name, value] : o.env)
                                   put_word(line, name + "=" + value);
                                 return line;
                               },
                               [](const keeper_complete&) { return begin("complete"); },
                               [](const keeper_signal& o) {
                                 auto line = begin("signal");
                                 put_word(line, o.index);
                                 put_word(line, o.number);
                                 put_word(line, o.group ? "group" : "process");
                                 return line;
                               }},
                    order);
}

keeper_order parse_order(std::string_view line) {
  const auto refuse = [&](const char* expected) {
    throw usage_error{"a host keeper was told '" + std::string{line.substr(0, max_shown)} + (line.size() > max_shown ? "…" : "")
                      + "', which is not " + expected};
  };
  if (!line.starts_with(prefix))
    refuse("an order");
  word_reader in{line.substr(prefix.size())};
  const auto verb = in.word();
  keeper_order out;
  if (verb == "cookie") {
    out = keeper_cookie{in.word()};
  } else if (verb == "start") {
    keeper_start o;
    o.index = in.index();
    o.program = in.word();
    const auto n = in.number(0, most_words);
    for (std::int64_t i = 0; i < n && in.good(); ++i)
      o.args.push_back(in.word());
    while (in.good() && !in.at_end()) {
      const auto variable = in.word();
      const auto equals = variable.find('=');
      if (equals == 0 || equals == std::string::npos)
        refuse("an order to start a worker: NAME=VALUE is expected at its end");
      o.env.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
    }
    if (o.program.empty())
      refuse("an order to start a worker: it has no program");
    out = std::move(o);
  } else if (verb == "complete") {
    out = keeper_complete{};
  } else if (verb == "signal") {
    keeper_signal o;
    o.index = in.index();
    o.number = static_cast<int>(in.number(1, 64));
    const auto whom = in.word();
    o.group = whom == "group";
    if (!o.group && whom != "process")
      refuse("an order to send a signal: process or group is expected");
    out = o;
  } else {
    refuse("one of the orders cookie, start, complete and signal");
  }
  if (!in.good() || !in.at_end())
    refuse("a complete order of this kind");
  return out;
}

std::string to_line(const keeper_news& news) {
  return std::visit(overloaded{[](const keeper_hello& n) {
                                 auto line = begin("hello");
                                 put_word(line, n.version);
                                 put_word(line, n.cpus);
                                 put_word(line, n.os_pid);
                                 put_word(line, n.host);
                                 put_word(line, n.address);
                                 return line;
                               },
                               [](const keeper_started& n) {
                                 auto line = begin("started");
                                 put_word(line, n.index);
                                 put_word(line, n.os_pid);
                                 return line;
                               },
                               [](const keeper_not_started& n) {
                                 auto line = begin("not_started");
                                 put_word(line, n.index);
                                 put_word(line, n.why);
                                 return line;
                               },
                               [](const keeper_said& n) {
                                 auto line = begin(n.is_stderr ? "err" : "out");
                                 put_word(line, n.index);
                                 return line.append(" ").append(n.line);
                               },
                               [](const keeper_ended& n) {
                                 auto line = begin("ended");
                                 put_word(line, n.index);
                                 put_word(line, n.status);
                                 put_word(line, n.signal);
                                 put_word(line, n.core ? 1 : 0);
                                 return line;
                               }},
                    news);
}

std::size_t find_news(std::string_view line) { return line.find(prefix); }

std::optional<keeper_news> parse_news(std::string_view line) {
  if (!line.starts_with(prefix))
    return std::nullopt;
  word_reader in{line.substr(prefix.size())};
  const auto verb = in.word();
  if (verb == "out" || verb == "err") {
    keeper_said n;
    n.index = in.index();
    n.is_stderr = verb == "err";
    n.line = in.rest();
    return in.good() ? std::optional<keeper_news>{n} : std::nullopt;
  }
  std::optional<keeper_news> out;
  if (verb == "hello") {
    keeper_hello n;
    n.version = static_cast<int>(in.number(0, 1'000'000));
    if (in.good() && n.version != keeper_version)
      return n;
    n.cpus = static_cast<int>(in.number(1, 1'000'000));
    n.os_pid = in.number(1, INT32_MAX);
    n.host = in.word();
    n.address = in.word();
    out = n;
  } else if (verb == "started") {
    keeper_started n;
    n.index = in.index();
    n.os_pid = in.number(1, INT32_MAX);
    out = n;
  } else if (verb == "not_started") {
    keeper_not_started n;
    n.index = in.index();
    n.why = in.word();
    out = n;
  } else if (verb == "ended") {
    keeper_ended n;
    n.index = in.index();
    n.status = static_cast<int>(in.number(-1, 255));
    n.signal = static_cast<int>(in.number(0, 64));
    n.core = in.number(0, 1) != 0;
    out = n;
  }
  return in.good() && in.at_end() ? out : std::nullopt;
}

} // namespace troupe
