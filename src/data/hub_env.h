/* What the environment says about the Hugging Face Hub, read as huggingface_hub reads it, so that one setting serves both.
 *
 *   HF_ENDPOINT                                   where the Hub is; https://huggingface.co without it
 *   HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME       where the cache is, the first one set
 *   HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME/token           the token; HF_HUB_DISABLE_IMPLICIT_TOKEN: none
 *   HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE          no traffic
 *   HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT  seconds without a byte before a request counts as lost
 *   REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR          certificates to trust
 * Proxies (http_proxy, https_proxy, no_proxy...) are libcurl's to read. */
#ifndef FINCH_DATA_HUB_ENV_H
#define FINCH_DATA_HUB_ENV_H

#include "base/str.h"

typedef struct hub_env {
    str endpoint;  /* scheme, host, port and path, no slash at the end */
    str cache;     /* the folder of models--..., datasets--... and .locks */
    str token;     /* empty: none. Never printed, never in a command line, overwritten when freed */
    str ca_file;   /* empty: libcurl's own */
    str ca_folder;
    bool offline;
    size_t etag_timeout; /* seconds */
    size_t download_timeout;
} hub_env;

/* Errors: FINCH_E_USAGE naming the variable and what it may be; FINCH_E_IO where the token's file can not be read. */
finch_status hub_env_read(hub_env *out, finch_error *err);
void hub_env_free(hub_env *env);

/* Only the cache's folder, for those that use no network. */
finch_status hub_env_cache(str *out, finch_error *err);

#endif
