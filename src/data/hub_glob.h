/* Shell patterns as Python's fnmatch.fnmatchcase reads them, which is what huggingface_hub's allow_patterns and
 * ignore_patterns are: * any text (also across /), ? one character, [abc] [a-z] [!abc] one of a set; there is no escape,
 * and a [ without its ] is an ordinary character. A pattern that ends in / means all below that folder. */
#ifndef FINCH_DATA_HUB_GLOB_H
#define FINCH_DATA_HUB_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* Both are UTF-8. Takes time in proportion to the product of the lengths at worst. */
bool hub_glob_match(const char *pattern, const char *path);

/* Whether a path is wanted: it matches one of include (or include is empty) and none of exclude. */
bool hub_glob_chosen(const char *path, const char *const *include, size_t n_include, const char *const *exclude,
                     size_t n_exclude);

#endif
