# The web page of `serve` lies in src/server/ui and is taken into the binary by server_ui.c as it is.
set(ui_dir ${CMAKE_SOURCE_DIR}/src/server/ui)
file(GLOB ui_files CONFIGURE_DEPENDS ${ui_dir}/*)
set_source_files_properties(src/server/server_ui.c PROPERTIES
  OBJECT_DEPENDS "${ui_files}" COMPILE_DEFINITIONS QW_UI_DIR="${ui_dir}")
