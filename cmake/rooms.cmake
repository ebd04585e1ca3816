# Sources by glob: a new file needs no registration. Kernels get their instruction set here, never -march=native:
# the choice among them is made at run time from the CPU's features.
file(GLOB FINCH_CORE_SOURCES CONFIGURE_DEPENDS src/base/*.c src/text/*.c src/tensor/*.c src/model/*.c src/train/*.c
     src/tensor/kernels/scalar/*.c)
file(GLOB FINCH_ROOM_SOURCES CONFIGURE_DEPENDS src/data/*.c src/store/*.c src/label/*.c src/serve/*.c src/stream/*.c)
if(FINCH_ROOM_LEFT_OUT)
  file(GLOB left_out ${FINCH_ROOM_LEFT_OUT})
  list(REMOVE_ITEM FINCH_ROOM_SOURCES ${left_out})
endif()
file(GLOB FINCH_CLI_SOURCES CONFIGURE_DEPENDS src/cli/*.c)

# gcc takes minutes to inline the lanes of the plain definitions under a sanitizer, and seconds without inlining.
if(FINCH_SANITIZE)
  file(GLOB scalar_sources CONFIGURE_DEPENDS src/tensor/kernels/scalar/*.c)
  set_source_files_properties(${scalar_sources} PROPERTIES COMPILE_OPTIONS -fno-inline)
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  file(GLOB avx2_sources CONFIGURE_DEPENDS src/tensor/kernels/avx2/*.c)
  file(GLOB avx512_sources CONFIGURE_DEPENDS src/tensor/kernels/avx512/*.c)
  set_source_files_properties(${avx2_sources} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
  foreach(source IN LISTS avx512_sources)
    set(flags -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c)
    if(source MATCHES "_vnni\\.c$")
      list(APPEND flags -mavx512vnni)
    elseif(source MATCHES "_bf16\\.c$")
      list(APPEND flags -mavx512bf16)
    endif()
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags}")
  endforeach()
  file(GLOB amx_sources CONFIGURE_DEPENDS src/tensor/kernels/amx/*.c)
  set_source_files_properties(${amx_sources} PROPERTIES COMPILE_OPTIONS
                              "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx2;-mfma;-mf16c;-mavx512bf16;-mamx-tile;-mamx-int8;-mamx-bf16")
  list(APPEND FINCH_CORE_SOURCES ${avx2_sources} ${avx512_sources} ${amx_sources})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  file(GLOB neon_sources CONFIGURE_DEPENDS src/tensor/kernels/neon/*.c)
  list(APPEND FINCH_CORE_SOURCES ${neon_sources})
endif()

# gcc's frames that outlive their function are aligned to 32 bytes at most, which 64-byte vectors on the stack are not content with.
if(FINCH_SANITIZE MATCHES "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  foreach(source IN LISTS avx512_sources amx_sources)
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS --param=asan-use-after-return=0)
  endforeach()
endif()

# No fuzzer's input reaches a kernel, and clang takes minutes for unrolled intrinsics under its sanitizers.
if(FINCH_FUZZ)
  foreach(source IN LISTS avx2_sources avx512_sources amx_sources)
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -fno-sanitize=all)
  endforeach()
endif()

# Tables that are part of the program lie in data/ as people read them.
set_source_files_properties(src/text/embedded.c PROPERTIES COMPILE_DEFINITIONS "FINCH_DATA=\"${CMAKE_SOURCE_DIR}/data\""
    OBJECT_DEPENDS "${CMAKE_SOURCE_DIR}/data/symbols/symbols.tsv;${CMAKE_SOURCE_DIR}/data/symbols/names.tsv;${CMAKE_SOURCE_DIR}/data/language/model.bin")
