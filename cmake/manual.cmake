# Man pages and completions as the program itself writes them:
#   cmake -DPROGRAM=finch -DLIBRARIES=libduckdb.so -DOUT=folder -P manual.cmake
get_filename_component(libraries "${LIBRARIES}" DIRECTORY)
set(ENV{LD_LIBRARY_PATH} "${libraries}:$ENV{LD_LIBRARY_PATH}")

function(finch_writes file)
  execute_process(COMMAND "${PROGRAM}" ${ARGN} OUTPUT_FILE "${file}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE "${OUT}")
file(MAKE_DIRECTORY "${OUT}/man1")
finch_writes("${OUT}/finch" completion bash)
finch_writes("${OUT}/_finch" completion zsh)
finch_writes("${OUT}/finch.fish" completion fish)
finch_writes("${OUT}/man1/finch.1" man)
finch_writes("${OUT}/help.json" help --json)
file(READ "${OUT}/help.json" help)
string(JSON n LENGTH "${help}" commands)
math(EXPR last "${n} - 1")
foreach(i RANGE ${last})
  string(JSON command GET "${help}" commands ${i} name)
  finch_writes("${OUT}/man1/finch-${command}.1" man ${command})
endforeach()
