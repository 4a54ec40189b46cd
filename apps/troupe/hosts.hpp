#pragma once

#include "host_probe.hpp"
#include "report.hpp"

#include <string>
#include <vector>

namespace command {

/// Columns that are as wide as what stands in them, two blanks apart; the first row is the heading. Without blanks at the ends of lines.
std::string in_columns(const std::vector<std::vector<std::string>>& rows);

/// One line for each host; `here` is this one.
std::string host_table(const std::vector<host_state>& all, const host_question& what);

/// What is wrong with them, or to be noted, in their order.
findings host_notes(const std::vector<host_state>& all, const host_state& here, const host_question& what);

/// `troupe hosts`: returns the exit status, 0 if all hosts have answered, and have the program that was asked for.
int run_hosts(int argc, char** argv);

} // namespace command
