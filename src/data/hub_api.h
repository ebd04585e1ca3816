/* What is in a repository: a revision's commit, a commit's files. */
#ifndef FINCH_DATA_HUB_API_H
#define FINCH_DATA_HUB_API_H

#include "data/hub_http.h"
#include "data/hub_list.h"

/* The commit that client->revision names now. *unreachable as hub_get's. */
finch_status hub_api_commit(hub_client *client, char out[HUB_COMMIT_DIGITS + 1], bool *unreachable, finch_error *err);

/* The files at commit, sorted and checked (hub_list_finish), page after page. */
finch_status hub_api_files(hub_client *client, const char *commit, hub_list *out, bool *unreachable, finch_error *err);

#endif
