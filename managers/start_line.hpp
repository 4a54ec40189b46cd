#pragma once

#include "troupe/transport/tcp.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// @addtogroup managers
/// @{

/// The line, without its end, by which a worker tells whoever started it where it listens: "troupe_worker:9003#127.0.0.1".
std::string start_line(const endpoint& where);

/// What such a line tells. Nothing if it is any other line: one without a port from 1 to 65535 in decimal, without a numeric IPv4 or IPv6
/// address, or with something before or behind them. An address of a transport of one's own may be anything that begins with its word and
/// "://", and need have no port.
std::optional<endpoint> parse_start_line(std::string_view line);

/// Where to listen, from "127.0.0.1", "127.0.0.1:9100", "::1" or "[::1]:9100", or the whole text if it is an address of a transport of
/// one's own; port 0 if there's none. Throws usage_error for a port that is none; the address isn't looked at.
endpoint parse_bind_address(const std::string& text);

/// @}

} // namespace troupe
