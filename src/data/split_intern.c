#include "data/split_intern.h"

enum { CAPACITY_LEAST = 64 };

split_intern split_intern_open(void) { return (split_intern){.key = siphash_key_make()}; }

void split_intern_free(split_intern *t)
{
    mem_free(t->slots);
    *t = (split_intern){0};
}

static split_intern_slot *slot_of(split_intern_slot *slots, size_t capacity, siphash128 hash)
{
    size_t at = (size_t)hash.low & (capacity - 1);
    while (slots[at].number != 0 && (slots[at].hash.low != hash.low || slots[at].hash.high != hash.high))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static finch_status make_room(split_intern *t, finch_error *err)
{
    split_intern_slot *slots;
    size_t capacity = t->capacity == 0 ? CAPACITY_LEAST : t->capacity * 2;
    if ((size_t)t->n * 2 < t->capacity) return FINCH_OK;
    FINCH_TRY(MEM_NEW(&slots, capacity, err));
    for (size_t i = 0; i < t->capacity; i++)
        if (t->slots[i].number != 0) *slot_of(slots, capacity, t->slots[i].hash) = t->slots[i];
    mem_free(t->slots);
    t->slots = slots;
    t->capacity = capacity;
    return FINCH_OK;
}

finch_status split_intern_add(split_intern *t, finch_text text, uint32_t *number, bool *is_new, finch_error *err)
{
    FINCH_TRY(make_room(t, err));
    siphash128 hash = siphash(t->key, text.at, text.size_bytes);
    split_intern_slot *slot = slot_of(t->slots, t->capacity, hash);
    *is_new = slot->number == 0;
    if (*is_new) *slot = (split_intern_slot){hash, ++t->n};
    *number = slot->number - 1;
    return FINCH_OK;
}
