# cmake --install: the program, the library with its header, pkg-config and CMake files, the model that ships, DuckDB's library,
# man pages, completions, the systemd unit, and the dashboard where it was built (make web). The tree can be moved: everything is
# found relative to the program. Components: runtime, development.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(finch_private_libdir "${CMAKE_INSTALL_LIBDIR}/finch")
set(finch_share "${CMAKE_INSTALL_DATADIR}/finch")
file(RELATIVE_PATH finch_libs_from_program "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}/finch")
set_property(SOURCE src/base/module.c APPEND PROPERTY COMPILE_DEFINITIONS "FINCH_MODULES=\"${finch_libs_from_program}/\"")
# The library's own dependencies are the distribution's: it has no path of its own.
set_target_properties(finch PROPERTIES INSTALL_RPATH "")
# A run path that CMake itself changes at installation is padded with colons in the build folder, and an empty part means the
# working folder: a program run from a downloads folder would take its libraries from there. So what is built has the run path
# that it is installed with; the program's names DuckDB's folder as well, which is taken out when it is installed.
get_filename_component(duckdb_folder "${DUCKDB_LIBRARY}" DIRECTORY)
set(finch_run_path "$ORIGIN/${finch_libs_from_program}")
if(FINCH_SAME_BYTES)
  # Not even for a time: the room that the folder's name took would stay. Such a program runs where it is installed.
  set_target_properties(finch_program PROPERTIES INSTALL_RPATH "${finch_run_path}")
else()
  set_target_properties(finch_program PROPERTIES INSTALL_RPATH "${finch_run_path};${duckdb_folder}")
endif()
# Not where sanitizers are: nobody installs those, and what the compiler brings (Archer, which tells TSan of OpenMP's joins) is found by CMake's own run path.
if(NOT FINCH_SANITIZE)
  set_target_properties(finch_program finch PROPERTIES BUILD_WITH_INSTALL_RPATH ON)
endif()
if(TARGET finch_mpi)
  set_target_properties(finch_mpi PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "")
endif()

install(TARGETS finch_program RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
if(NOT FINCH_SAME_BYTES)
  install(CODE "
    file(RPATH_CHANGE FILE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/finch\"
         OLD_RPATH \"${finch_run_path}:${duckdb_folder}\" NEW_RPATH \"${finch_run_path}\")" COMPONENT runtime)
endif()
get_filename_component(duckdb_file "${DUCKDB_LIBRARY}" REALPATH)
install(PROGRAMS "${duckdb_file}" DESTINATION "${finch_private_libdir}" COMPONENT runtime RENAME libduckdb.so)
if(TARGET finch_mpi)
  install(TARGETS finch_mpi LIBRARY DESTINATION "${finch_private_libdir}" COMPONENT runtime)
endif()
if(TARGET finch_cuda)
  install(FILES "${finch_cuda_module}" DESTINATION "${finch_private_libdir}" COMPONENT runtime OPTIONAL)
endif()
install(DIRECTORY models/finch-mini-5 DESTINATION "${finch_share}/models" COMPONENT runtime)
install(FILES deploy/finch.service deploy/alerts.yml deploy/grafana-finch.json DESTINATION "${finch_share}/deploy" COMPONENT runtime)
install(FILES LICENSE NOTICE CHANGELOG.md DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT runtime)
install(CODE "
  if(EXISTS \"${CMAKE_SOURCE_DIR}/web/out/index.html\")
    file(INSTALL \"${CMAKE_SOURCE_DIR}/web/out/\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${finch_share}/web\")
  else()
    message(STATUS \"The dashboard is not installed: it was not built (make web)\")
  endif()" COMPONENT runtime)

# The program writes its own pages; a program for another machine can not be asked.
if(CMAKE_CROSSCOMPILING)
  message(STATUS "Man pages and completions are not installed: the program is for another machine")
else()
  install(CODE "
    execute_process(COMMAND \"${CMAKE_COMMAND}\" \"-DPROGRAM=$<TARGET_FILE:finch_program>\" \"-DLIBRARIES=${DUCKDB_LIBRARY}\"
                            \"-DOUT=${CMAKE_BINARY_DIR}/manual\" -P \"${CMAKE_SOURCE_DIR}/cmake/manual.cmake\" COMMAND_ERROR_IS_FATAL ANY)"
    COMPONENT runtime)
  install(DIRECTORY "${CMAKE_BINARY_DIR}/manual/man1" DESTINATION "${CMAKE_INSTALL_MANDIR}" COMPONENT runtime)
  install(FILES "${CMAKE_BINARY_DIR}/manual/finch" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" COMPONENT runtime)
  install(FILES "${CMAKE_BINARY_DIR}/manual/_finch" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions" COMPONENT runtime)
  install(FILES "${CMAKE_BINARY_DIR}/manual/finch.fish" DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d"
          COMPONENT runtime)
endif()

install(TARGETS finch EXPORT finchTargets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT development)
install(FILES include/finch.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)
install(EXPORT finchTargets NAMESPACE finch:: DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/finch" COMPONENT development)
configure_package_config_file(cmake/finchConfig.cmake.in "${CMAKE_BINARY_DIR}/generated/finchConfig.cmake"
                              INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/finch" PATH_VARS finch_share)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/generated/finchConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/generated/finchConfig.cmake" "${CMAKE_BINARY_DIR}/generated/finchConfigVersion.cmake"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/finch" COMPONENT development)
# Relative to the file's own place, so that pkg-config follows a tree that was moved.
file(RELATIVE_PATH finch_up_from_pc "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" finch_up_from_pc "${finch_up_from_pc}")
configure_file(cmake/finch.pc.in "${CMAKE_BINARY_DIR}/generated/finch.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/generated/finch.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT development)
