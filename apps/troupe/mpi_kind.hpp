#pragma once

#include <string>

namespace command {

/// Which MPI something belongs to.
struct mpi_kind {
  std::string name;    ///< "MPICH", "Open MPI", "Intel MPI"; empty if it isn't known
  std::string version; ///< "4.0.2"
  std::string device;  ///< MPICH's: "ch4:ucx"

  /// "MPICH 4.0.2, device ch4:ucx"
  std::string to_text() const;
};

/// From what MPI_Get_library_version says.
mpi_kind library_kind(const std::string& text);

/// From what `mpirun --version` prints.
mpi_kind starter_kind(const std::string& text);

} // namespace command
