# A level's files hold only its kernels and are the only ones built for more than the baseline CPU.
# They are called after run-time detection (backend/cpu/cpu_features.c). -O3 only where speed counts:
# with a sanitizer clang needs minutes for it. Fuzzers never compute, so there the kernels go without.
# Where they lie: src/backend/cpu/${QW_KERNEL_DIR}, src/bench/${QW_KERNEL_DIR}.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(QW_KERNEL_DIR x86)
  set(levels avx2 avx512 vnni avx512bf16)
  set(flags_avx2 "-mavx2 -mfma -mf16c")
  set(flags_avx512 "-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512")
  set(flags_vnni "${flags_avx512} -mavx512vnni")
  set(flags_avx512bf16 "${flags_avx512} -mavx512bf16")
else()
  set(QW_KERNEL_DIR arm)
  set(levels neon)
  set(flags_neon "") # the baseline of aarch64
endif()
foreach(level ${levels})
  file(GLOB kernel_files CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/src/backend/cpu/${QW_KERNEL_DIR}/*_${level}.c
    ${CMAKE_SOURCE_DIR}/src/bench/${QW_KERNEL_DIR}/*_${level}.c)
  foreach(kernel_file ${kernel_files})
    separate_arguments(flags UNIX_COMMAND "${flags_${level}}")
    set_source_files_properties(${kernel_file} PROPERTIES COMPILE_OPTIONS
      "${flags};$<$<CONFIG:Release>:-O3>;$<$<CONFIG:Fuzz>:-fno-sanitize=all>")
  endforeach()
endforeach()
