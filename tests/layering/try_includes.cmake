# cmake -DCOMPILER=... -DMODULE=... -DMAY_INCLUDE="base;..." -DSRC=... -DFOLDERS=... -DWORK=... -P
# Run by CTest (CMakeLists.txt beside this file).
cmake_minimum_required(VERSION 3.25)
file(MAKE_DIRECTORY ${WORK})
list(TRANSFORM FOLDERS PREPEND -I)

function(compile name text) # sets status and words
  file(WRITE ${WORK}/${name}.cc "${text}")
  execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only ${FOLDERS} ${WORK}/${name}.cc
                  RESULT_VARIABLE status ERROR_VARIABLE words OUTPUT_QUIET)
  set(status ${status} PARENT_SCOPE)
  set(words "${words}" PARENT_SCOPE)
endfunction()

function(header_of module) # sets header: any one, which stands alone
  file(GLOB headers RELATIVE ${SRC} ${SRC}/${module}/*.h)
  list(FILTER headers EXCLUDE REGEX "_internal")
  list(GET headers 0 header)
  set(header ${header} PARENT_SCOPE)
endfunction()

file(GLOB others RELATIVE ${SRC} ${SRC}/*)
list(REMOVE_ITEM others ${MODULE} main CMakeLists.txt)
set(right "")
set(wrong 0)
foreach(other IN LISTS others)
  header_of(${other})
  if(other IN_LIST MAY_INCLUDE)
    string(APPEND right "#include \"${header}\"\n")
    continue()
  endif()
  compile(wrong_${other} "#include \"${header}\"\n")
  if(status EQUAL 0)
    message(FATAL_ERROR "${MODULE} can include ${header}, which it may not: what does it link?")
  elseif(NOT words MATCHES "${header}: No such file|'${header}' file not found")
    message(FATAL_ERROR "${MODULE} cannot compile ${header}, but for another reason:\n${words}")
  endif()
  math(EXPR wrong "${wrong} + 1")
endforeach()

# The same way of compiling, with what the module may include and its own.
header_of(${MODULE})
compile(right "#include \"${header}\"\n${right}int main() {}\n")
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${MODULE} cannot include what it may:\n${words}")
endif()
list(LENGTH MAY_INCLUDE right_count)
message(STATUS "${MODULE}: ${right_count} modules can be included, ${wrong} cannot")
