# What belongs to the program beside its binary: the share folder, manuals, completions; and where
# `cmake --install` puts all of it. `make install` (scripts/install.sh) copies what this installs.

# The build tree has the layout of an installation, so that a program in it finds its share folder
# (cli/share.c): build/release/share/qwench beside build/release/qwench.
set(share ${CMAKE_BINARY_DIR}/share/qwench)
file(MAKE_DIRECTORY ${share})
file(GLOB shared CONFIGURE_DEPENDS LIST_DIRECTORIES true share/*)
foreach(path ${CMAKE_SOURCE_DIR}/models ${shared})
  get_filename_component(name ${path} NAME)
  file(CREATE_LINK ${path} ${share}/${name} SYMBOLIC)
endforeach()

# Manual pages, completions and docs/cli.md are made of the option tables, by a program: not when it
# is built for another machine that cannot be run here.
add_executable(qwench_docs src/cli/docs_main.c)
target_link_libraries(qwench_docs PRIVATE qw_cli)
set_target_properties(qwench_docs PROPERTIES OUTPUT_NAME qwench-docs)
set(docs ${CMAKE_BINARY_DIR}/docs)
add_custom_command(OUTPUT ${docs}/made
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${docs}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${docs}/share/man/man1
    ${docs}/share/bash-completion/completions ${docs}/share/zsh/site-functions
  COMMAND qwench_docs ${QWENCH_VERSION} ${docs}
  COMMAND ${CMAKE_COMMAND} -E touch ${docs}/made
  DEPENDS qwench_docs VERBATIM)
if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
  add_custom_target(docs DEPENDS ${docs}/made)
else()
  add_custom_target(docs ALL DEPENDS ${docs}/made)
endif()

# The same modes whatever the umask.
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
add_custom_command(TARGET qwench POST_BUILD
  COMMAND ${CMAKE_COMMAND} -E create_symlink qwench ${CMAKE_BINARY_DIR}/vllm VERBATIM)
install(TARGETS qwench RUNTIME DESTINATION bin)
install(FILES ${CMAKE_BINARY_DIR}/vllm DESTINATION bin)
install(DIRECTORY models/tiny DESTINATION share/qwench/models)
install(DIRECTORY share/ DESTINATION share/qwench)
install(DIRECTORY ${docs}/share/ DESTINATION share OPTIONAL)
