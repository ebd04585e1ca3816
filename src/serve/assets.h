/* Files that are part of the program: src/serve/assets, made into bytes by cmake/embed.cmake. */
#ifndef FINCH_SERVE_ASSETS_H
#define FINCH_SERVE_ASSETS_H

#include <stddef.h>

extern const unsigned char asset_schemas[], asset_docs_html[], asset_docs_js[], asset_docs_css[], asset_root_html[];
extern const size_t asset_schemas_bytes, asset_docs_html_bytes, asset_docs_js_bytes, asset_docs_css_bytes,
    asset_root_html_bytes;

#endif
