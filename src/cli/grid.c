#include "cli/grid.h"

enum { CELL_CUT = 12, CELL_KEPT = 32, GAP = 2 };

/* The columns of the widest cell, up to GRID_CELL_MOST. */
static finch_status column_width(pen *p, const data_grid *grid, size_t column, const char *name, size_t *out,
                                 finch_error *err)
{
    size_t before = p->out.size, used;
    finch_status st = pen_add_sane(p, name, GRID_CELL_MOST, out, err);
    for (size_t row = 0; st == FINCH_OK && row < grid->n_rows; row++) {
        const char *value = grid->values[row * grid->n_columns + column];
        st = pen_add_sane(p, value != NULL ? value : "", GRID_CELL_MOST, &used, err);
        if (st == FINCH_OK && used > *out) *out = used;
    }
    p->out.size = before; /* it was written to be measured */
    if (*out < GRID_CELL_LEAST) *out = GRID_CELL_LEAST;
    return st;
}

finch_status grid_add_cell(pen *p, const char *text, size_t width, finch_error *err)
{
    size_t used;
    FINCH_TRY(str_add_text(&p->out, "  ", err));
    FINCH_TRY(pen_add_sane(p, text, width, &used, err));
    for (; used < width; used++) FINCH_TRY(str_add_text(&p->out, " ", err));
    return FINCH_OK;
}

static finch_status add_grid_row(pen *p, const data_grid *grid, size_t row, const size_t *widths, size_t n_shown,
                                 finch_error *err)
{
    for (size_t i = 0; i < n_shown; i++) {
        const char *value = grid->values[row * grid->n_columns + i];
        if (value == NULL) FINCH_TRY(pen_colour(p, "90", err));
        FINCH_TRY(grid_add_cell(p, value != NULL ? value : "-", widths[i], err));
        if (value == NULL) FINCH_TRY(pen_colour(p, "", err));
    }
    return str_add_text(&p->out, "\n", err);
}

static size_t line_width(const size_t *widths, size_t n, size_t cap)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) used += GAP + (widths[i] < cap ? widths[i] : cap);
    return used;
}

/* Cuts the widest columns until the line holds them all. Where CELL_CUT does not do, they are cut little and the line
 * holds the first ones, whose number is returned. */
static size_t fit_columns(const pen *p, size_t *widths, size_t n)
{
    size_t cap = GRID_CELL_MOST, n_shown = n;
    while (cap >= CELL_CUT && line_width(widths, n, cap) > p->width) cap--;
    if (cap < CELL_CUT) cap = CELL_KEPT;
    for (size_t i = 0; i < n; i++) widths[i] = widths[i] < cap ? widths[i] : cap;
    while (n_shown > 1 && line_width(widths, n_shown, cap) > p->width) n_shown--;
    return n_shown;
}

static finch_status add_hidden_names(pen *p, const data_names *names, size_t n_shown, finch_error *err)
{
    if (n_shown == names->n) return FINCH_OK;
    FINCH_TRY(str_add_text(&p->out, "  not shown for want of room:", err));
    for (size_t i = n_shown; i < names->n; i++) {
        FINCH_TRY(str_add_text(&p->out, i > n_shown ? ", " : " ", err));
        FINCH_TRY(pen_add_sane(p, names->at[i], GRID_CELL_MOST, NULL, err));
    }
    return str_add_text(&p->out, "\n", err);
}

finch_status grid_add(pen *p, const data_grid *grid, const data_names *names, finch_error *err)
{
    size_t *widths, n_shown = 0;
    FINCH_TRY(MEM_NEW(&widths, grid->n_columns, err));
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < grid->n_columns; i++)
        st = column_width(p, grid, i, names->at[i], &widths[i], err);
    if (st == FINCH_OK) n_shown = fit_columns(p, widths, grid->n_columns);
    if (st == FINCH_OK) st = pen_colour(p, "1", err);
    for (size_t i = 0; st == FINCH_OK && i < n_shown; i++) st = grid_add_cell(p, names->at[i], widths[i], err);
    if (st == FINCH_OK) st = pen_colour(p, "", err);
    if (st == FINCH_OK) st = str_add_text(&p->out, "\n", err);
    for (size_t row = 0; st == FINCH_OK && row < grid->n_rows; row++) st = add_grid_row(p, grid, row, widths, n_shown, err);
    if (st == FINCH_OK) st = add_hidden_names(p, names, n_shown, err);
    mem_free(widths);
    return st;
}
