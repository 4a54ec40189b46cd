#include "troupe/transport/cookie.hpp"

#include "troupe/transport/unique_fd.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& why) {
  throw std::runtime_error("cookie file " + file.string() + ": " + why);
}

[[noreturn]] void refuse_for_errno(const std::filesystem::path& file) { refuse(file, std::generic_category().message(errno)); }

void check_owner_and_mode(int fd, const std::filesystem::path& file) {
  struct stat info{};
  if (::fstat(fd, &info) != 0)
    refuse_for_errno(file);
  if (!S_ISREG(info.st_mode))
    refuse(file, "not a regular file");
  if (info.st_uid != ::geteuid())
    refuse(file, "belongs to user " + std::to_string(info.st_uid) + ", expected " + std::to_string(::geteuid()));
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    refuse(file, "others than its owner may use it; run: chmod 600 " + file.string());
}

} // namespace

void init_crypto() { OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr); }

std::string make_cookie() {
  init_crypto();
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr unsigned unbiased = 256 / alphabet.size() * alphabet.size();
  std::string cookie;
  while (cookie.size() < max_cookie_size) {
    unsigned char byte = 0;
    if (RAND_bytes(&byte, 1) != 1)
      throw std::runtime_error("OpenSSL has no random numbers for a cookie");
    if (byte < unbiased)
      cookie += alphabet[byte % alphabet.size()];
  }
  return cookie;
}

void check_cookie(std::string_view cookie) {
  if (cookie.empty())
    throw std::invalid_argument("the cookie is empty, expected 1 to 16 characters");
  if (cookie.size() > max_cookie_size)
    throw std::invalid_argument("the cookie has " + std::to_string(cookie.size()) + " characters, expected 1 to 16");
  for (std::size_t i = 0; i < cookie.size(); ++i) {
    if (cookie[i] <= ' ' || cookie[i] > '~') // where char is signed, what isn't ASCII is below ' '
      throw std::invalid_argument("character " + std::to_string(i + 1) + " of the cookie is a blank or not printable ASCII");
  }
}

std::string read_cookie_file(const std::filesystem::path& file) {
  // O_NONBLOCK: opening a FIFO that nobody writes would wait for ever.
  const unique_fd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
  if (!fd)
    refuse_for_errno(file);
  check_owner_and_mode(fd.get(), file); // on the open file: the name could mean another one a moment later

  std::array<char, max_cookie_size + 3> buffer; // with "\r\n", and one more to see that it is too long
  std::size_t size = 0;
  while (size < buffer.size()) {
    const auto n = ::read(fd.get(), buffer.data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      refuse_for_errno(file);
    if (n == 0)
      break;
    size += static_cast<std::size_t>(n);
  }

  std::string_view text{buffer.data(), size};
  if (text.ends_with('\n'))
    text.remove_suffix(text.ends_with("\r\n") ? 2 : 1);
  std::string cookie{text};
  const bool too_long = size == buffer.size() || cookie.size() > max_cookie_size;
  OPENSSL_cleanse(buffer.data(), buffer.size());
  if (too_long)
    refuse(file, "longer than 16 characters");
  try {
    check_cookie(cookie);
  } catch (const std::invalid_argument& e) {
    refuse(file, e.what());
  }
  return cookie;
}

std::string read_or_make_cookie_file(const std::filesystem::path& file) {
  if (std::filesystem::exists(file))
    return read_cookie_file(file);
  if (const auto folder = file.parent_path(); !folder.empty() && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    refuse_for_errno(folder);
  // complete before it gets its name, so that nobody reads half of it
  auto made = file.string() + ".XXXXXX";
  const unique_fd fd{::mkostemp(made.data(), O_CLOEXEC)};
  if (!fd)
    refuse_for_errno(file);
  const auto text = make_cookie() + '\n';
  const bool written = ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const bool named = written && (::link(made.c_str(), file.c_str()) == 0 || errno == EEXIST);
  const auto error = errno;
  ::unlink(made.c_str());
  errno = error;
  if (!named)
    refuse_for_errno(file);
  return read_cookie_file(file);
}

std::filesystem::path default_cookie_file() {
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0')
    if (const auto user = ::getpwuid(::geteuid()))
      home = user->pw_dir;
  if (home == nullptr || *home == '\0')
    throw std::runtime_error{"troupe: this user has no home where the cookie could lie: name its file"};
  return std::filesystem::path{home} / ".troupe" / "cookie";
}

} // namespace troupe
