# Finds MPICH, also where another MPI is the default: Debian calls its compiler mpicxx.mpich beside that. Who has set
# one of FindMPI's own variables is left alone.
set(MPI_CXX_SKIP_MPICXX ON)
if(NOT DEFINED MPI_EXECUTABLE_SUFFIX AND NOT MPI_CXX_COMPILER AND NOT MPI_HOME AND NOT DEFINED ENV{MPI_HOME})
  find_program(TROUPE_MPICXX mpicxx.mpich)
  mark_as_advanced(TROUPE_MPICXX)
  if(TROUPE_MPICXX)
    set(MPI_EXECUTABLE_SUFFIX .mpich)
  endif()
endif()
