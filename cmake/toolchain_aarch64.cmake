# Cross build for aarch64 with Debian's compiler; tests run under qemu's user-mode emulation.
# Libraries for arm64 come from build/aarch64-libs, where scripts/arm64_libs.sh puts them.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu)

set(arm64_libs ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-libs)
get_filename_component(arm64_libs ${arm64_libs} ABSOLUTE)
set(ENV{PKG_CONFIG_LIBDIR} ${arm64_libs}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${arm64_libs})
# Only headers and libraries of the target; programs of this machine.
set(CMAKE_FIND_ROOT_PATH ${arm64_libs} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
