# Every tests/<room>/test_*.c becomes one program and one ctest entry; tests/parity/test_*.py and tests/cli/test_*.py
# run with FINCH_PYTHON; tests/checks/*.sh hold the style. Nothing is registered by hand.
pkg_check_modules(cmocka IMPORTED_TARGET cmocka)
if(NOT cmocka_FOUND)
  message(STATUS "cmocka is missing: no tests are built. Run tools/setup.sh.")
  return()
endif()

set(FINCH_PYTHON "${CMAKE_SOURCE_DIR}/.venv/bin/python" CACHE FILEPATH "Python with tests/requirements.txt")
option(FINCH_FUZZ "Build the fuzz targets (needs clang)" OFF)

# Archives of the program's own objects: of these a test is linked with what it reaches alone, where the objects themselves would
# make each of a hundred tests as large as the program.
add_library(tested_core STATIC $<TARGET_OBJECTS:finch_core>)
target_include_directories(tested_core PUBLIC include src)
target_link_libraries(tested_core PUBLIC finch_core_dependencies)
add_library(tested_rooms STATIC $<TARGET_OBJECTS:finch_rooms>)
target_link_libraries(tested_rooms PUBLIC tested_core finch_room_dependencies)

add_library(finch_harness OBJECT tests/harness.c)
target_link_libraries(finch_harness PUBLIC tested_core PkgConfig::cmocka)
target_include_directories(finch_harness PUBLIC tests)

# Several tests share the cores: threads of OpenMP that wait by spinning take them from each other, up to a hundredfold.
set(test_environment "FINCH_PYTHON=${FINCH_PYTHON};FINCH=$<TARGET_FILE:finch_program>;FINCH_SOURCE=${CMAKE_SOURCE_DIR};OMP_NUM_THREADS=2;OMP_WAIT_POLICY=passive")
if(FINCH_SANITIZE)
  list(APPEND test_environment "FINCH_SANITIZED=1" "ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1"
       "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp" "TSAN_OPTIONS=ignore_noninstrumented_modules=1")
endif()
# The tests of what runs on several threads: those that name a number of threads or start their own. Under the thread
# sanitizer only these are built (make test-tsan): clang's OpenMP runtime tells it of every fork, join and barrier (Archer).
add_custom_target(thread_tests)

file(GLOB test_sources CONFIGURE_DEPENDS tests/*/test_*.c)
if(NOT TARGET finch_cuda_emulated)
  message(STATUS "The GPU's kernels are not tested: they need a C++ compiler, and no sanitizer")
  list(FILTER test_sources EXCLUDE REGEX "/tests/gpu/")
endif()
foreach(source IN LISTS test_sources)
  get_filename_component(room_path ${source} DIRECTORY)
  get_filename_component(room ${room_path} NAME)
  get_filename_component(idea ${source} NAME_WE)
  set(name ${room}_${idea})
  add_executable(${name} ${source})
  # The GPU's tests are taken to machines that have none of the other rooms' libraries (bench/gpu.sh).
  target_link_libraries(${name} PRIVATE finch_harness $<IF:$<STREQUAL:${room},gpu>,tested_core,tested_rooms>)
  target_compile_definitions(${name} PRIVATE FIXTURES="${CMAKE_SOURCE_DIR}/tests/fixtures" SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set(labels ${room})
  file(STRINGS ${source} threaded REGEX "n_threads|pthread_create|hub_workers_open|omp_get_max_threads|num_threads\\([2-9]" LIMIT_COUNT 1)
  if(threaded)
    list(APPEND labels threads)
    add_dependencies(thread_tests ${name})
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${test_environment}" TIMEOUT 300 LABELS "${labels}")
endforeach()

# The GPU's tests open its kernels as they are compiled for the CPU, and the module itself where there is a device.
if(TARGET finch_cuda_emulated)
  file(GLOB gpu_tests CONFIGURE_DEPENDS tests/gpu/test_*.c)
  foreach(source IN LISTS gpu_tests)
    get_filename_component(idea ${source} NAME_WE)
    target_compile_definitions(gpu_${idea} PRIVATE EMULATED_MODULE="$<TARGET_FILE:finch_cuda_emulated>"
                               GPU_MODULE="${CMAKE_BINARY_DIR}/libfinch_cuda.so")
    add_dependencies(gpu_${idea} finch_cuda_emulated)
  endforeach()
endif()

# Programs that Python tests drive: tests/parity/NAME.c is parity_NAME.
file(GLOB driver_sources CONFIGURE_DEPENDS tests/parity/*.c)
foreach(source IN LISTS driver_sources)
  get_filename_component(idea ${source} NAME_WE)
  add_executable(parity_${idea} ${source})
  target_link_libraries(parity_${idea} PRIVATE tested_core)
endforeach()

if(NOT FINCH_SANITIZE)
  file(GLOB python_tests CONFIGURE_DEPENDS tests/*/test_*.py)
  foreach(source IN LISTS python_tests)
    get_filename_component(room_path ${source} DIRECTORY)
    get_filename_component(room ${room_path} NAME)
    get_filename_component(idea ${source} NAME_WE)
    add_test(NAME ${room}_${idea} COMMAND ${FINCH_PYTHON} ${source})
    set_tests_properties(${room}_${idea} PROPERTIES ENVIRONMENT "${test_environment}" TIMEOUT 600 LABELS ${room})
  endforeach()
  # A new build knows no test's time, and the longest started last would keep one core waiting: they are named, to start first.
  foreach(longest parity_test_training_curve notebooks_test_notebooks stream_test_kafka python_test_wheel serve_test_chat)
    if(TEST ${longest})
      set_tests_properties(${longest} PROPERTIES COST 100)
    endif()
  endforeach()
  file(GLOB checks CONFIGURE_DEPENDS tests/checks/check_*.sh)
  foreach(source IN LISTS checks)
    get_filename_component(idea ${source} NAME_WE)
    add_test(NAME ${idea} COMMAND bash ${source} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${idea} PROPERTIES ENVIRONMENT "${test_environment};FINCH_BUILD=${CMAKE_BINARY_DIR}" TIMEOUT 300 LABELS checks)
  endforeach()
endif()

# What answers chats is no C test: the program itself is asked, by many at once and by clients that leave.
if(FINCH_SANITIZE STREQUAL "thread")
  add_test(NAME serve_test_chat_threads COMMAND ${FINCH_PYTHON} tests/serve/test_chat.py Answers ManyAtOnce Full Ending WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  # The server's end is what the test sees of a race.
  set_tests_properties(serve_test_chat_threads PROPERTIES ENVIRONMENT "${test_environment}:halt_on_error=1" TIMEOUT 600 LABELS "serve;threads")
  add_dependencies(thread_tests finch_program)
endif()

if(FINCH_FUZZ)
  file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
  set(FINCH_FUZZ_SECONDS 10 CACHE STRING "Seconds each fuzz target of the files that come from strangers runs under ctest")
  # The files of a model, that people download, get the whole time, the others a quarter.
  set(fuzz_longest fuzz_safetensors fuzz_checkpoint fuzz_config_json fuzz_tokenizer_file fuzz_tokenizer)
  add_custom_target(fuzzers)
  foreach(source IN LISTS fuzz_sources)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE tested_rooms)
    add_dependencies(fuzzers ${name})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(seconds ${FINCH_FUZZ_SECONDS})
    if(NOT name IN_LIST fuzz_longest)
      math(EXPR seconds "(${FINCH_FUZZ_SECONDS} + 3) / 4")
    endif()
    add_test(NAME ${name} COMMAND bash ${CMAKE_SOURCE_DIR}/tests/fuzz/run.sh $<TARGET_FILE:${name}> ${seconds})
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "${test_environment}" TIMEOUT 600 LABELS fuzz)
  endforeach()
endif()
