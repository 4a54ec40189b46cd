#pragma once

/// What most programs need: an application, its cluster, remote calls and futures. For actors of your own include <troupe/actors.hpp>,
/// for the command line in full <troupe/cli.hpp>.

#include "troupe/actors/future.hpp"
#include "troupe/actors/named.hpp"
#include "troupe/actors/progress.hpp"
#include "troupe/actors/retry.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/this_task.hpp"
#include "troupe/managers/app.hpp"
#include "troupe/managers/cluster.hpp"
#include "troupe/managers/cluster_manager.hpp"
#include "troupe/managers/machine_spec.hpp"
#include "troupe/managers/mpi_manager.hpp"
#include "troupe/managers/options.hpp"
#include "troupe/managers/process_info.hpp"
#include "troupe/transport/error.hpp"
