#pragma once

/// The command line of an application in full: app.cli() is a CLI::App, app.option(…) gives a CLI::Option.

#include <CLI/CLI.hpp>
