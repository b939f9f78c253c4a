# generated/version.h: the version (file VERSION) and the commit. Written anew by every build, but
# only when it has changed, so that a commit needs no run of cmake. Only main.c includes it: the
# libraries and the tests are not linked again after each commit.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  add_custom_target(qw_version
    COMMAND ${CMAKE_COMMAND} -D SOURCE=${CMAKE_SOURCE_DIR} -D OUT=${CMAKE_BINARY_DIR}/generated/version.h
      -D VERSION=${QWENCH_VERSION} -P ${CMAKE_CURRENT_LIST_FILE}
    BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/version.h COMMENT "Looking up the commit" VERBATIM)
  add_dependencies(qwench qw_version)
  return()
endif()

# In what `git archive` packed, git has put the commit into this file (.gitattributes).
file(STRINGS ${SOURCE}/cmake/commit.txt QWENCH_COMMIT LIMIT_COUNT 1)
if(QWENCH_COMMIT MATCHES "Format:")
  # safe.directory: `make install` as root may meet a tree of the user's. The tree must be git's own
  # top: one that was copied into another repository has no commit.
  set(git git -c safe.directory=* --no-optional-locks -C ${SOURCE})
  execute_process(COMMAND ${git} rev-parse --show-prefix RESULT_VARIABLE failed OUTPUT_VARIABLE inside
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND ${git} describe --always --dirty --exclude * OUTPUT_VARIABLE QWENCH_COMMIT
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(failed OR inside OR NOT QWENCH_COMMIT)
    set(QWENCH_COMMIT "unknown")
  endif()
endif()
set(QWENCH_VERSION ${VERSION})
configure_file(${SOURCE}/cmake/version.h.in ${OUT} @ONLY)
