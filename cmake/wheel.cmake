# What goes into the Python wheel (pyproject.toml): libfinch, the libraries it needs that a bare Linux has not, their licences,
# and the model that ships. libc, libm, libstdc++ and libgcc_s are every system's own.
set(finch_wheel_lib "finch/_lib")
set(finch_wheel_carries "^lib(dnnl|jansson|utf8proc|gomp|OpenCL)\\.so")

# A wheel holds no symbolic links, so the library has its one name. The old kind of run path, because it is in force for the
# libraries' own needs too: oneDNN finds the OpenMP runtime beside it.
set_target_properties(finch PROPERTIES INSTALL_RPATH "$ORIGIN")
target_link_options(finch PRIVATE -Wl,--disable-new-dtags)

install(TARGETS finch LIBRARY DESTINATION "${finch_wheel_lib}" COMPONENT wheel)
install(DIRECTORY models/finch-mini-5 DESTINATION finch/models COMPONENT wheel)
install(CODE "
  file(GET_RUNTIME_DEPENDENCIES LIBRARIES \"$<TARGET_FILE:finch>\" RESOLVED_DEPENDENCIES_VAR found
       PRE_INCLUDE_REGEXES \"${finch_wheel_carries}\" PRE_EXCLUDE_REGEXES \".*\")
  set(into \"\${CMAKE_INSTALL_PREFIX}/${finch_wheel_lib}\")
  file(MAKE_DIRECTORY \"\${into}/licenses\")
  foreach(library IN LISTS found)
    get_filename_component(name \"\${library}\" NAME)
    file(REAL_PATH \"\${library}\" real)
    file(COPY_FILE \"\${real}\" \"\${into}/\${name}\")
    execute_process(COMMAND dpkg-query -S \"\${real}\" OUTPUT_VARIABLE owner ERROR_QUIET RESULT_VARIABLE failed)
    if(failed)
      message(WARNING \"\${name} is of no Debian package: add its licence to the wheel by hand before you pass it on\")
    else()
      string(REGEX REPLACE \":.*\" \"\" owner \"\${owner}\")
      file(REAL_PATH \"/usr/share/doc/\${owner}/copyright\" terms)
      file(COPY_FILE \"\${terms}\" \"\${into}/licenses/\${name}.txt\")
    endif()
  endforeach()" COMPONENT wheel)
