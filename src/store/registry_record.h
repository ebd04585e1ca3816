/* The record of the registry. Internal to the room. */
#ifndef FINCH_STORE_REGISTRY_RECORD_H
#define FINCH_STORE_REGISTRY_RECORD_H

#include "store/registry.h"

typedef struct registry_entry {
    const char *name, *stage, *action;
    int64_t before, after;
    const char *by, *note; /* note NULL: "" */
} registry_entry;

/* All inside a transaction. Writes the entry, its event, and counts the change. */
finch_status registry_write_record(store *s, const registry_entry *entry, finch_error *err);
finch_status registry_note_change(store *s, finch_error *err);
/* Those who change stages wait for each other. */
finch_status registry_lock(store *s, finch_error *err);

#endif
