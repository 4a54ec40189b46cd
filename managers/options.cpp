#include "troupe/managers/options.hpp"

namespace troupe {

local_options::operator launch_options() const {
  return {exename, exeflags, dir, env, bind_addr, launch_timeout, threads, partial, extra};
}

} // namespace troupe
