/* Names and addresses on the Hub: what a repository, a revision and a file may be called, where they are, and which
 * addresses may see the token. */
#ifndef FINCH_DATA_HUB_URL_H
#define FINCH_DATA_HUB_URL_H

#include "base/str.h"

typedef enum hub_kind { HUB_MODEL, HUB_DATASET } hub_kind;

enum { HUB_COMMIT_DIGITS = 40, HUB_SHA256_DIGITS = 64, HUB_REPO_BYTES = 96 };

/* "name" or "owner/name", each part of letters, digits, - _ . that neither begins nor ends with - or .; no -- and no ..
 * (the rules of huggingface_hub). */
bool hub_repo_valid(const char *repo);
/* FINCH_E_USAGE with what is wrong; says so where a kind or an address stands in front. */
finch_status hub_repo_check(const char *repo, finch_error *err);
/* A branch, a tag, a commit, refs/pr/1: a relative path without "..", blanks and control characters. */
finch_status hub_revision_check(const char *revision, finch_error *err);
/* 40 lower-case hexadecimal digits. */
bool hub_is_commit(const char *revision);

/* Whether a file's name from the server may become a path below a folder: relative, no empty, "." or ".." part, no
 * backslash tricks or drive letters, no control characters, no part longer than 255 bytes. why (may be NULL) says what is wrong. */
bool hub_path_safe(const char *path, const char **why);

/* Addresses, appended to an empty *out. */
finch_status hub_url_info(const char *endpoint, hub_kind kind, const char *repo, const char *revision, str *out,
                          finch_error *err);
finch_status hub_url_tree(const char *endpoint, hub_kind kind, const char *repo, const char *commit, str *out,
                          finch_error *err);
finch_status hub_url_file(const char *endpoint, hub_kind kind, const char *repo, const char *commit, const char *path,
                          str *out, finch_error *err);
/* The page of the repository for people. */
finch_status hub_url_page(const char *endpoint, hub_kind kind, const char *repo, str *out, finch_error *err);

/* location as it is meant on the page base. Only http and https, never from https to http, no user name inside.
 * Errors: FINCH_E_REMOTE. */
finch_status hub_url_join(const char *base, const char *location, str *out, finch_error *err);

/* Same scheme, host and port: only then the token goes along. */
bool hub_url_same_origin(const char *a, const char *b);

/* For messages: without the query, which holds signatures, and without what steers a terminal; cut at 200 bytes. */
finch_status hub_url_shown(const char *url, str *out, finch_error *err);

#endif
