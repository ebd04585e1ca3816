/* The dashboard's files: read once at the start, then answered from memory by their names alone. A request can name nothing but what
 * was found in the folder then, so no path leads out of it, and no request waits for the disk.
 *
 * PATH is the file PATH, else PATH.html, else PATH/index.html. Pages get a Content-Security-Policy with the hashes of their own
 * inline scripts, so that none but these run. Text is kept as gzip too. */
#ifndef FINCH_SERVE_WEB_H
#define FINCH_SERVE_WEB_H

#include "serve/route.h"

typedef struct web web;

enum { WEB_FILES_MAX = 4096, WEB_DEPTH_MAX = 8 };

/* Hidden files and links are left out. Errors: FINCH_E_NOT_FOUND, FINCH_E_DATA (too many files, or too large), FINCH_E_IO. */
finch_status web_open(const char *folder, web **out, finch_error *err);
void web_close(web *w); /* NULL is legal */

/* Answers the request where there is a file for its path: 200, or 304. False: there is none. */
bool web_answer(const web *w, request *r);
/* The folder's 404.html; false where it has none. */
bool web_answer_missing(const web *w, request *r);

#endif
