# The GPU's module, libfinch_cuda.so, where CUDA's compiler is: on the PATH, in CUDA_PATH or /usr/local/cuda, or as tools/cuda.sh has unpacked it.
# It is opened at run time (tensor/gpu.h), so nothing is linked with it, and nothing is missed where it is not.
option(FINCH_CUDA "Build the GPU's module where nvcc is" ON)
file(GLOB gpu_kernels CONFIGURE_DEPENDS src/tensor/cuda/*.cu)
file(GLOB gpu_headers CONFIGURE_DEPENDS src/tensor/cuda/*.h)
if(FINCH_CUDA AND NOT FINCH_SANITIZE)
  find_program(FINCH_NVCC nvcc HINTS "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin "${CMAKE_SOURCE_DIR}/build/deps/cuda/bin")
  set(nvcc_version "")
  if(FINCH_NVCC)
    execute_process(COMMAND "${FINCH_NVCC}" --version OUTPUT_VARIABLE nvcc_says ERROR_QUIET)
    string(REGEX MATCH "release ([0-9.]+)" found "${nvcc_says}")
    set(nvcc_version "${CMAKE_MATCH_1}")
  endif()
endif()
if(FINCH_CUDA AND NOT FINCH_SANITIZE AND nvcc_version VERSION_GREATER_EQUAL 13)
  # sm_80's code runs on every device of its generation, sm_90's on Hopper; later ones compile the PTX when they first see it.
  set(nvcc_flags -std=c++17 -O3 -fmad=false -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra -I${CMAKE_SOURCE_DIR}/src
      -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90)
  set(gpu_objects)
  foreach(source IN LISTS gpu_kernels)
    get_filename_component(name ${source} NAME_WE)
    set(object "${CMAKE_BINARY_DIR}/cuda/${name}.o")
    add_custom_command(OUTPUT "${object}" COMMAND ${FINCH_NVCC} ${nvcc_flags} -c ${source} -o "${object}" DEPENDS ${source} ${gpu_headers}
                       COMMENT "Building CUDA object ${name}" VERBATIM)
    list(APPEND gpu_objects "${object}")
  endforeach()
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/cuda")
  set(finch_cuda_module "${CMAKE_BINARY_DIR}/libfinch_cuda.so")
  # CUDA's own runtime goes into the module: it alone looks for the driver, when it is first asked for a device.
  add_custom_command(OUTPUT "${finch_cuda_module}" COMMAND ${FINCH_NVCC} -shared -cudart static ${gpu_objects} -o "${finch_cuda_module}"
                     DEPENDS ${gpu_objects} COMMENT "Linking libfinch_cuda.so" VERBATIM)
  add_custom_target(finch_cuda ALL DEPENDS "${finch_cuda_module}")
elseif(FINCH_CUDA AND NOT FINCH_SANITIZE)
  message(STATUS "nvcc 13 is missing (found: ${FINCH_NVCC} ${nvcc_version}): finch has no GPU module. Install CUDA 13 or run tools/cuda.sh (docs/gpu.md).")
endif()

# The same kernels for the CPU, as a module with the same table: what the tests open where there is no GPU (src/tensor/cuda/launch.h).
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER AND NOT FINCH_SANITIZE) # its fibers are unknown to sanitizers
  enable_language(CXX)
  list(FILTER gpu_kernels EXCLUDE REGEX "/device\\.cu$")
  add_library(finch_cuda_emulated MODULE EXCLUDE_FROM_ALL src/tensor/cuda/emulate.cpp ${gpu_kernels})
  set_source_files_properties(${gpu_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++;-Wno-unknown-pragmas")
  set_target_properties(finch_cuda_emulated PROPERTIES CXX_STANDARD 17 CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden)
  target_include_directories(finch_cuda_emulated PRIVATE src)
endif()
