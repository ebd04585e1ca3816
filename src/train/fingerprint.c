#include "train/fingerprint.h"

#include "base/file.h"
#include "text/minhash.h"

#include <stdlib.h>
#include <string.h>

static const char file_magic[8] = {'F', 'I', 'N', 'C', 'H', 'F', 'P', '1'};
enum { HEADER_BYTES = 16, RECORD_BYTES = 8 + MINHASH_BYTES, FILE_LIMIT_BYTES = 1 << 30 };

typedef struct record {
    uint64_t exact;
    minhash sketch;
} record;

/* A band's key and the record that has it, sorted by key: one such table a band. */
typedef struct band_entry {
    uint32_t key;
    uint32_t record;
} band_entry;

struct fingerprints {
    record *records; /* [n], sorted by exact */
    band_entry *bands; /* [MINHASH_BANDS, n] */
    size_t n;
};

static int compare_records(const void *a, const void *b)
{
    const record *x = a, *y = b;
    if (x->exact != y->exact) return x->exact < y->exact ? -1 : 1;
    return memcmp(&x->sketch, &y->sketch, sizeof x->sketch);
}

static int compare_bands(const void *a, const void *b)
{
    const band_entry *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
}

static finch_status bands_build(fingerprints *f, finch_error *err)
{
    size_t n_entries;
    if (f->n > UINT32_MAX || !size_mul(f->n, MINHASH_BANDS, &n_entries))
        return finch_fail(err, FINCH_E_DATA, "%zu fingerprints are more than a file may have", f->n);
    FINCH_TRY(MEM_NEW(&f->bands, n_entries, err));
    for (size_t band = 0; band < MINHASH_BANDS; band++) {
        band_entry *entries = f->bands + band * f->n;
        for (size_t i = 0; i < f->n; i++) entries[i] = (band_entry){minhash_band(&f->records[i].sketch, band), (uint32_t)i};
        qsort(entries, f->n, sizeof *entries, compare_bands);
    }
    return FINCH_OK;
}

static void records_unique(fingerprints *f)
{
    size_t kept = 0;
    qsort(f->records, f->n, sizeof *f->records, compare_records);
    for (size_t i = 0; i < f->n; i++) {
        if (kept == 0 || f->records[kept - 1].exact != f->records[i].exact) f->records[kept++] = f->records[i];
    }
    f->n = kept;
}

static finch_status record_of(finch_text text, str *folded, record *out, finch_error *err)
{
    FINCH_TRY(minhash_fold(text, folded, err));
    *out = (record){minhash_exact(folded->at, folded->size), minhash_of(folded->at, folded->size)};
    return FINCH_OK;
}

finch_status fingerprints_create(const finch_text *texts, size_t n_texts, fingerprints **out, finch_error *err)
{
    fingerprints *f = NULL;
    str folded = {0};
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&f, 1, err));
    FINCH_GO(done, st, MEM_NEW(&f->records, n_texts, err));
    for (size_t i = 0; i < n_texts; i++) FINCH_GO(done, st, record_of(texts[i], &folded, &f->records[i], err));
    f->n = n_texts;
    records_unique(f);
    st = bands_build(f, err);
done:
    str_free(&folded);
    if (st == FINCH_OK) *out = f;
    else fingerprints_close(f);
    return st;
}

void fingerprints_close(fingerprints *f)
{
    if (f == NULL) return;
    mem_free(f->records);
    mem_free(f->bands);
    mem_free(f);
}

static finch_status parse_header(bytes *rest, const char *name, size_t *n, finch_error *err)
{
    bytes magic;
    uint64_t count;
    if (!bytes_take(rest, sizeof file_magic, &magic) || memcmp(magic.at, file_magic, sizeof file_magic) != 0)
        return finch_fail(err, FINCH_E_DATA, "%s does not begin with FINCHFP1: it is no fingerprint file", name);
    if (!bytes_take_u64(rest, &count) || count > rest->size / RECORD_BYTES || count * RECORD_BYTES != rest->size)
        return finch_fail(err, FINCH_E_DATA, "%s was cut or changed: its length does not fit the number of records it names",
                          name);
    *n = (size_t)count;
    return FINCH_OK;
}

finch_status fingerprints_parse(const void *data, size_t size, const char *name, fingerprints **out, finch_error *err)
{
    fingerprints *f = NULL;
    bytes rest = {data, size};
    finch_status st;
    size_t n = 0;
    *out = NULL;
    FINCH_GO(done, st, parse_header(&rest, name, &n, err));
    FINCH_GO(done, st, MEM_NEW(&f, 1, err));
    FINCH_GO(done, st, MEM_NEW(&f->records, n, err));
    for (f->n = 0; f->n < n; f->n++) {
        record *r = &f->records[f->n];
        bytes sketch;
        if (!bytes_take_u64(&rest, &r->exact) || !bytes_take(&rest, MINHASH_BYTES, &sketch))
            FINCH_GO(done, st, finch_fail(err, FINCH_E_DATA, "%s ends inside record %zu", name, f->n));
        memcpy(r->sketch.byte, sketch.at, MINHASH_BYTES);
        if (f->n > 0 && f->records[f->n - 1].exact >= r->exact)
            FINCH_GO(done, st, finch_fail(err, FINCH_E_DATA, "%s: record %zu is out of order", name, f->n));
    }
    st = bands_build(f, err);
done:
    if (st == FINCH_OK) *out = f;
    else fingerprints_close(f);
    return st;
}

finch_status fingerprints_open(const char *folder, fingerprints **out, finch_error *err)
{
    str path = {0};
    char *data = NULL;
    size_t size = 0;
    *out = NULL;
    if (!file_is_directory(folder))
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s is a file and has no fingerprints", folder);
    finch_status st = file_join(folder, FINGERPRINT_FILE, &path, err);
    if (st == FINCH_OK) st = file_read(path.at, FILE_LIMIT_BYTES, &data, &size, err);
    if (st == FINCH_OK) st = fingerprints_parse(data, size, path.at, out, err);
    mem_free(data);
    str_free(&path);
    return st;
}

static void put_u64(unsigned char *at, uint64_t value)
{
    for (size_t i = 0; i < 8; i++) at[i] = (unsigned char)(value >> (8 * i));
}

finch_status fingerprints_save(const fingerprints *f, const char *folder, finch_error *err)
{
    str path = {0};
    unsigned char *data = NULL;
    finch_status st;
    FINCH_GO(done, st, file_join(folder, FINGERPRINT_FILE, &path, err));
    FINCH_GO(done, st, mem_alloc(HEADER_BYTES + f->n * RECORD_BYTES, 1, (void **)&data, err));
    memcpy(data, file_magic, sizeof file_magic);
    put_u64(data + sizeof file_magic, f->n);
    for (size_t i = 0; i < f->n; i++) {
        unsigned char *at = data + HEADER_BYTES + i * RECORD_BYTES;
        put_u64(at, f->records[i].exact);
        memcpy(at + 8, f->records[i].sketch.byte, MINHASH_BYTES);
    }
    st = file_write(path.at, data, HEADER_BYTES + f->n * RECORD_BYTES, err);
done:
    mem_free(data);
    str_free(&path);
    return st;
}

size_t fingerprints_count(const fingerprints *f) { return f->n; }

static bool seen_exactly(const fingerprints *f, uint64_t exact)
{
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->records[middle].exact < exact) low = middle + 1;
        else high = middle;
    }
    return low < f->n && f->records[low].exact == exact;
}

static bool seen_nearly(const fingerprints *f, size_t band, const minhash *sketch)
{
    const band_entry *entries = f->bands + band * f->n;
    uint32_t key = minhash_band(sketch, band);
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entries[middle].key < key) low = middle + 1;
        else high = middle;
    }
    for (; low < f->n && entries[low].key == key; low++) {
        if (minhash_similarity(&f->records[entries[low].record].sketch, sketch) >= FINGERPRINT_NEAR) return true;
    }
    return false;
}

finch_status fingerprints_match(const fingerprints *f, finch_text text, fingerprint_match *out, finch_error *err)
{
    str folded = {0};
    record r;
    finch_status st = record_of(text, &folded, &r, err);
    str_free(&folded);
    FINCH_TRY(st);
    *out = FINGERPRINT_NEW;
    if (seen_exactly(f, r.exact)) *out = FINGERPRINT_SEEN;
    for (size_t band = 0; band < MINHASH_BANDS && *out == FINGERPRINT_NEW; band++) {
        if (seen_nearly(f, band, &r.sketch)) *out = FINGERPRINT_NEAR_SEEN;
    }
    return FINCH_OK;
}
