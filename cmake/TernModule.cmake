# One function per kind of target, so that every module is built by the same rules.
#
# tern_module(name SOURCES a.cc HEADERS a.h LINK base THIRD_PARTY PkgConfig::sodium)
#   A static library of src/<name>. What it may include is what it links: each module's include
#   root is a folder in the build tree that holds one link, to that module alone, so a wrong-way
#   include does not compile. Third-party libraries are private: headers of a module never need
#   them.
# tern_test(name SOURCES ... LINK module...)   a GoogleTest binary, its tests known to CTest
# tern_fuzz(name SOURCE f.cc LINK module...)   a libFuzzer target (preset fuzz); elsewhere a
#   replayer of tests/fuzz/corpus/<name>, run as a test

set(TERN_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Werror)

add_library(tern_options INTERFACE)
target_compile_options(tern_options INTERFACE ${TERN_WARNINGS} -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # False alarms of these compilers about std::vector::insert once it is inlined (GCC PR 105329 and
  # its kin). The dev and asan builds, optimised less, keep the warnings.
  target_compile_options(tern_options INTERFACE
    $<$<CONFIG:Release>:-Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread
                        -Wno-restrict>)
endif()
if(TERN_SANITIZE)
  target_compile_options(tern_options INTERFACE -fsanitize=address,undefined
                         -fno-sanitize-recover=all)
  target_link_options(tern_options INTERFACE -fsanitize=address,undefined)
endif()
if(TERN_FUZZ)
  target_compile_options(tern_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined
                         -fno-sanitize-recover=all)
  target_link_options(tern_options INTERFACE -fsanitize=address,undefined)
endif()

function(tern_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;HEADERS;LINK;THIRD_PARTY" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${name} SYMBOLIC)
  list(TRANSFORM arg_HEADERS PREPEND ${root}/${name}/)
  if(arg_SOURCES)
    add_library(${name} STATIC ${arg_SOURCES})
    target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${root} FILES ${arg_HEADERS})
    target_include_directories(${name} PUBLIC ${root})
    target_link_libraries(${name} PUBLIC ${arg_LINK} PRIVATE tern_options ${arg_THIRD_PARTY})
    set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${root})
    target_link_libraries(${name} INTERFACE ${arg_LINK})
  endif()
endfunction()

function(tern_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK;THIRD_PARTY;LABELS" ${ARGN})
  if(TERN_FUZZ)
    return()
  endif()
  find_package(GTest REQUIRED)
  include(GoogleTest)
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE tern_options ${arg_LINK} ${arg_THIRD_PARTY}
                        GTest::gtest_main GTest::gmock)
  target_compile_definitions(${name} PRIVATE TERN_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             TERN_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 DISCOVERY_MODE PRE_TEST
                       PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
endfunction()

function(tern_fuzz name)
  cmake_parse_arguments(arg "" "SOURCE" "LINK" ${ARGN})
  if(TERN_FUZZ)
    add_executable(${name} ${arg_SOURCE})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name} PRIVATE tern_options ${arg_LINK})
  else()
    add_executable(${name} ${arg_SOURCE} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    target_link_libraries(${name} PRIVATE tern_options ${arg_LINK})
    add_test(NAME fuzz_replay.${name}
             COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(fuzz_replay.${name} PROPERTIES TIMEOUT 120)
  endif()
endfunction()
