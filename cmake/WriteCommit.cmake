# Writes OUT (a C++ header) with the commit that SOURCE is at, "+" behind it if files differ; leaves
# the file alone when it says so already. Run at build time: cmake -DSOURCE=... -DOUT=... -P
execute_process(COMMAND git -c safe.directory=* -C ${SOURCE} describe --always --dirty=+ --abbrev=12
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit "unknown")
endif()
set(text "#define TERN_COMMIT \"${commit}\"\n")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
