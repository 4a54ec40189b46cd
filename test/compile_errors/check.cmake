# Compiles SOURCE, which must fail, and say what its lines that begin with "// expect: " expect. -D COMPILER, INCLUDE, SOURCE.
file(STRINGS "${SOURCE}" expectations REGEX "^// expect: ")
execute_process(COMMAND "${COMPILER}" -std=c++20 -fsyntax-only "-I${INCLUDE}" "${SOURCE}"
  RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, where this was expected: ${expectations}")
endif()
foreach(line IN LISTS expectations)
  string(REGEX REPLACE "^// expect: " "" expected "${line}")
  string(FIND "${text}" "${expected}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "expected: ${expected}\ncame:\n${text}")
  endif()
endforeach()
