# Fails when a kernel object of a wide instruction set defines a weak symbol outside that set's own namespace.
#
# The linker keeps one of all weak symbols of a name. An inline function of the standard library that an AVX-512
# object defines could so end up in the baseline, and stop a processor without AVX-512 (see csrc/simd/vec.h).
#
#   cmake -DNM=nm -DISA=avx512 -DOBJECTS=list.txt -P check_weak_symbols.cmake

file(STRINGS ${OBJECTS} objects)
list(LENGTH objects object_count)
if(object_count EQUAL 0)
  message(FATAL_ERROR "${OBJECTS} names no object files")
endif()

# Mangled names of what lies in chainrule::<isa>: functions, their static variables and guards, type information.
string(LENGTH ${ISA} length)
set(own_name "^_Z[A-Z]*9chainrule${length}${ISA}")
# The address of the exception personality routine, which GCC emits as data: the same on every instruction set.
set(harmless "^DW\\.ref\\.")

set(symbol_count 0)
set(own_count 0)
set(strays "")
foreach(object IN LISTS objects)
  execute_process(COMMAND ${NM} --defined-only --format=posix ${object}
    OUTPUT_VARIABLE output ERROR_VARIABLE error RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${NM} ${object}: ${error}")
  endif()
  string(REPLACE "\n" ";" lines "${output}")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "^([^ ]+) ([A-Za-z]) ")
      continue()
    endif()
    set(symbol ${CMAKE_MATCH_1})
    set(type ${CMAKE_MATCH_2})
    math(EXPR symbol_count "${symbol_count} + 1")
    if(symbol MATCHES "${own_name}")
      math(EXPR own_count "${own_count} + 1")
    elseif(type MATCHES "^[WVuwv]$" AND NOT symbol MATCHES "${harmless}")
      string(APPEND strays "\n  ${object}: ${type} ${symbol}")
    endif()
  endforeach()
endforeach()

# A script that reads nothing must not pass.
if(own_count EQUAL 0)
  message(FATAL_ERROR "none of ${symbol_count} symbols in ${object_count} files lies in chainrule::${ISA}: "
                      "are these the kernel objects?")
endif()
if(strays)
  message(FATAL_ERROR "weak symbols outside chainrule::${ISA}:${strays}")
endif()
message(STATUS "${object_count} objects, ${symbol_count} symbols, ${own_count} of chainrule::${ISA}, no strays")
