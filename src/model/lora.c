#include "model/lora.h"

#include <string.h>

/* The name at *at, which moves behind its comma; false at the end. */
static bool next_name(const char **at, const char **name, size_t *size)
{
    if (**at == '\0') return false;
    *name = *at;
    *size = strcspn(*at, ",");
    *at += *size + ((*at)[*size] == ',' ? 1 : 0);
    return true;
}

bool lora_targets_has(const char *targets, const char *name)
{
    const char *found;
    size_t size;
    while (next_name(&targets, &found, &size))
        if (strlen(name) == size && memcmp(found, name, size) == 0) return true;
    return false;
}

static bool is_known(const char *name, size_t size, const char *const *known, size_t n_known)
{
    for (size_t i = 0; i < n_known; i++)
        if (strlen(known[i]) == size && memcmp(known[i], name, size) == 0) return true;
    return false;
}

finch_status lora_options_check(const lora_options *o, const char *const *known, size_t n_known, finch_error *err)
{
    const char *at = o->targets, *name;
    size_t size, n = 0;
    if (o->rank < 1 || o->rank > LORA_RANK_MAX)
        return finch_fail(err, FINCH_E_USAGE, "the adapter's rank is %zu; it may be from 1 to %d", o->rank, LORA_RANK_MAX);
    if (!(o->alpha > 0.0 && o->alpha <= 1e6))
        return finch_fail(err, FINCH_E_USAGE, "the adapter's alpha is %g; it must be above 0 and at most 1e6", o->alpha);
    if (!(o->dropout >= 0.0 && o->dropout < 1.0))
        return finch_fail(err, FINCH_E_USAGE, "the adapter's dropout is %g; it must be at least 0 and below 1", o->dropout);
    for (; next_name(&at, &name, &size); n++)
        if (!is_known(name, size, known, n_known))
            return finch_fail(err, FINCH_E_USAGE, "the model has no linear layers called \"%.*s\"; it has %s", (int)size,
                              name, known[0]);
    if (n == 0) return finch_fail(err, FINCH_E_USAGE, "the adapter adapts no layer; name some, as q_proj,v_proj");
    return FINCH_OK;
}
