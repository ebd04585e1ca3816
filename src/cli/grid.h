/* Tables on a terminal. */
#ifndef FINCH_CLI_GRID_H
#define FINCH_CLI_GRID_H

#include "cli/pen.h"
#include "data/look.h"

enum { GRID_CELL_LEAST = 4, GRID_CELL_MOST = 48 };

/* Two blanks and the text, cut or filled up to width columns. */
finch_status grid_add_cell(pen *p, const char *text, size_t width, finch_error *err);

/* The grid below the names of its columns; those that do not fit the line are named at the end. */
finch_status grid_add(pen *p, const data_grid *grid, const data_names *names, finch_error *err);

#endif
