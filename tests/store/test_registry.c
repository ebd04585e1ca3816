/* The registry: versions and their files, stages, and the record of what served. */
#include "store_test.h"

#include "store/registry.h"
#include "store/values.h"

#include "base/file.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[512], root[512];

/* A model's folder whose weights are the given text. */
static const char *model(const char *weights)
{
    char path[600];
    snprintf(folder, sizeof folder, "%s/model", harness_folder());
    snprintf(path, sizeof path, "%s/1_Pooling", folder);
    CHECK_OK(file_make_directories(path, &err), &err);
#define PUT(name, text)                                 \
    snprintf(path, sizeof path, "%s/%s", folder, name); \
    CHECK_OK(file_write(path, text, strlen(text), &err), &err)
    PUT("config.json", "{\"model_type\":\"bert\"}");
    PUT("finch.json", "{\"metrics\":{\"n\":4,\"macro_f1\":0.5,\"labels\":[\"A\",\"B\"],\"confusion\":[[1,1],[0,2]]}}");
    PUT("metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":1.5}\n{\"step\":3,\"lo");
    PUT("model.safetensors", weights);
    PUT("1_Pooling/config.json", "{}");
    PUT(".hidden", "secret");
    return folder;
}

static void begin(void)
{
    snprintf(root, sizeof root, "%s/registry", harness_folder());
    CHECK_EQUAL(0, setenv("FINCH_REGISTRY", root, 1));
    test_begin();
}

static int64_t enter(const char *name, const char *weights, bool *is_new)
{
    registry_version v;
    registry_new spec = {name, model(weights), "tester", NULL};
    bool fresh;
    CHECK_OK(registry_register(s, &spec, NULL, &v, is_new != NULL ? is_new : &fresh, &err), &err);
    int64_t number = v.number;
    CHECK_EQUAL(5, v.n_files);
    registry_version_free(&v);
    return number;
}

static size_t count_blobs(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < 256; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/blobs/%02x", root, i);
        DIR *dir = opendir(path);
        for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) n += strlen(entry->d_name) == 64;
        if (dir != NULL) closedir(dir);
    }
    return n;
}

TEST(a_version_is_whole_and_equal_files_are_kept_once)
{
    registry_version v;
    bool is_new;
    str damaged = {0};
    char path[700], *text;
    size_t size;
    struct stat info;
    begin();
    CHECK_EQUAL(1, enter("bert", "weights 1", &is_new));
    CHECK(is_new);
    CHECK_EQUAL(1, enter("bert", "weights 1", &is_new)); /* the same again */
    CHECK(!is_new);
    CHECK_EQUAL(5, count_blobs());
    CHECK_EQUAL(2, enter("bert", "weights 2", &is_new));
    CHECK_EQUAL(1, enter("other", "weights 2", &is_new));
    CHECK_EQUAL(6, count_blobs());
    CHECK_OK(registry_find(s, "bert@1", &v, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", v.folder.at);
    CHECK_OK(file_read(path, 100, &text, &size, &err), &err);
    CHECK_TEXT("weights 1", text);
    mem_free(text);
    snprintf(path, sizeof path, "%s/1_Pooling/config.json", v.folder.at);
    CHECK(file_exists(path));
    CHECK_EQUAL(0, stat(path, &info));
    CHECK_EQUAL(0444, info.st_mode & 0777);
    snprintf(path, sizeof path, "%s/.hidden", v.folder.at);
    CHECK(!file_exists(path));
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("", damaged.at);
    str_free(&damaged);
    registry_version_free(&v);
    test_end();
}

TEST(damage_is_seen_and_registering_again_mends_what_is_gone)
{
    registry_version v;
    str damaged = {0};
    char path[700];
    begin();
    enter("bert", "weights", NULL);
    CHECK_OK(registry_find(s, "bert", &v, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", v.folder.at);
    char *blob = realpath(path, NULL);
    CHECK(blob != NULL);
    CHECK_EQUAL(0, chmod(blob, 0644));
    FILE *file = fopen(blob, "r+");
    CHECK(file != NULL && fputc('W', file) == 'W' && fclose(file) == 0);
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("model.safetensors has changed", damaged.at);
    CHECK_EQUAL(0, unlink(blob));
    free(blob);
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("model.safetensors is missing", damaged.at);
    enter("bert", "weights", NULL);
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("", damaged.at);
    str_free(&damaged);
    registry_version_free(&v);
    test_end();
}

TEST(what_is_no_model_is_refused)
{
    static const char *const names[] = {"",
                                        ".",
                                        "..",
                                        "a/b",
                                        "a b",
                                        "-a",
                                        "a-",
                                        "\xC3\xA9",
                                        "a@1",
                                        "../x",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    registry_version v;
    bool is_new;
    begin();
    registry_new spec = {.folder = model("w")};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        spec.name = names[i];
        CHECK_STATUS(FINCH_E_USAGE, registry_register(s, &spec, NULL, &v, &is_new, &err), &err);
        CHECK_STATUS(FINCH_E_NOT_FOUND, registry_find(s, names[i], &v, &err), &err);
    }
    spec = (registry_new){.name = "a", .folder = harness_folder()};
    CHECK_STATUS(FINCH_E_DATA, registry_register(s, &spec, NULL, &v, &is_new, &err), &err);
    spec.folder = "no such folder";
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_register(s, &spec, NULL, &v, &is_new, &err), &err);
    CHECK_EQUAL(0, test_number("SELECT count(*) FROM model_version"));
    test_end();
}

TEST(another_stores_files_are_left_alone)
{
    registry_version v;
    store *mine = NULL, *other;
    bool is_new;
    char path[512];
    if (test_postgres() != NULL) return; /* one place, one database there */
    begin();
    enter("bert", "w", NULL);
    snprintf(path, sizeof path, "%s/other.sqlite", harness_folder());
    CHECK_OK(store_open(path, &other, &err), &err);
    mine = s;
    registry_new spec = {.name = "bert", .folder = model("w")};
    CHECK_STATUS(FINCH_E_DATA, registry_register(other, &spec, NULL, &v, &is_new, &err), &err);
    store_close(other);
    s = mine;
    test_end();
}

/* On PostgreSQL: another machine is another folder. */
TEST(a_shared_store_brings_a_versions_files_to_a_machine_that_lacks_them)
{
    registry_version v;
    str damaged = {0};
    char elsewhere[512];
    if (test_postgres() == NULL) return;
    begin();
    enter("bert", "1", NULL);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", harness_folder());
    CHECK_EQUAL(0, setenv("FINCH_REGISTRY", elsewhere, 1));
    CHECK_OK(registry_find(s, "bert@1", &v, &err), &err);
    CHECK(strncmp(v.folder.at, elsewhere, strlen(elsewhere)) == 0);
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("", damaged.at);
    CHECK(v.n_files > 1);
    CHECK_OK(registry_remove(s, "bert", 1, NULL, &err), &err);
    CHECK_EQUAL(0, test_number("SELECT count(*) FROM model_blob"));
    registry_version_free(&v);
    str_free(&damaged);
    test_end();
}

static void check_found(const char *reference, int64_t number)
{
    registry_version v;
    CHECK_OK(registry_find(s, reference, &v, &err), &err);
    CHECK_EQUAL(number, v.number);
    registry_version_free(&v);
}

TEST(names_lead_to_versions)
{
    registry_version v;
    int64_t before;
    begin();
    enter("bert", "1", NULL);
    enter("bert", "2", NULL);
    enter("bert", "3", NULL);
    check_found("bert", 3); /* nothing serves: the newest */
    CHECK_OK(registry_promote(s, &(registry_change){"bert", "production", NULL, NULL}, 2, &before, &err), &err);
    CHECK_EQUAL(0, before);
    check_found("bert", 2);
    check_found("bert@production", 2);
    check_found("bert@latest", 3);
    check_found("bert@1", 1);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_find(s, "bert@4", &v, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_find(s, "bert@shadow", &v, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_find(s, "bert@", &v, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_find(s, "nobody", &v, &err), &err);
    CHECK_OK(registry_promote(s, &(registry_change){"bert", "best-2024", NULL, NULL}, 2, &before, &err), &err);
    CHECK_OK(registry_find(s, "bert@best-2024", &v, &err), &err);
    json_t *json = registry_version_json(&v, true);
    CHECK_TEXT("bert@2", json_string_value(json_object_get(json, "id")));
    CHECK_EQUAL(2, json_array_size(json_object_get(json, "stages")));
    CHECK(json_is_object(json_object_get(json_object_get(json, "card"), "metrics")));
    json_decref(json);
    registry_version_free(&v);
    test_end();
}

static void promote(int64_t number)
{
    int64_t before;
    CHECK_OK(registry_promote(s, &(registry_change){"bert", "production", "ann", "better F1"}, number, &before, &err), &err);
}

static void roll_back(int64_t from, int64_t to)
{
    int64_t before, now;
    CHECK_OK(registry_rollback(s, &(registry_change){"bert", "production", "bob", NULL}, &before, &now, &err), &err);
    CHECK_EQUAL(from, before);
    CHECK_EQUAL(to, now);
}

TEST(rolling_back_goes_back_and_back)
{
    int64_t before, now;
    registry_change production = {"bert", "production", NULL, NULL};
    begin();
    for (char weights[2] = "1"; weights[0] <= '4'; weights[0]++) enter("bert", weights, NULL);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_rollback(s, &production, &before, &now, &err), &err);
    promote(1);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_rollback(s, &production, &before, &now, &err), &err);
    promote(2);
    promote(3);
    roll_back(3, 2);
    promote(4);
    roll_back(4, 2);
    roll_back(2, 1);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_rollback(s, &production, &before, &now, &err), &err);
    promote(3);
    CHECK_OK(registry_demote(s, &production, &err), &err);
    check_found("bert", 4);
    roll_back(0, 3);
    promote(4);
    promote(2);
    CHECK_STATUS(FINCH_E_USAGE, registry_remove(s, "bert", 2, NULL, &err), &err);
    CHECK_OK(registry_remove(s, "bert", 4, NULL, &err), &err); /* passed over */
    roll_back(2, 3);
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_promote(s, &production, 4, &before, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, registry_promote(s, &(registry_change){"bert", "7", NULL, NULL}, 1, &before, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, registry_promote(s, &(registry_change){"bert", "latest", NULL, NULL}, 1, &before, &err),
                 &err);
    test_end();
}

TEST(the_record_tells_what_served_when)
{
    json_t *record;
    int64_t number, first, second, revision, later;
    begin();
    enter("bert", "1", NULL);
    enter("bert", "2", NULL);
    CHECK_OK(registry_revision(s, &revision, &err), &err);
    promote(1);
    first = store_now_ms(s);
    usleep(5000);
    promote(2);
    promote(2); /* changes nothing, makes no record */
    second = store_now_ms(s);
    usleep(5000);
    roll_back(2, 1);
    CHECK_OK(registry_at(s, "bert", "production", 1000, &number, &err), &err);
    CHECK_EQUAL(0, number);
    CHECK_OK(registry_at(s, "bert", "production", first, &number, &err), &err);
    CHECK_EQUAL(1, number);
    CHECK_OK(registry_at(s, "bert", "production", second, &number, &err), &err);
    CHECK_EQUAL(2, number);
    CHECK_OK(registry_at(s, "bert", "production", store_now_ms(s) + 1000, &number, &err), &err);
    CHECK_EQUAL(1, number);
    CHECK_OK(registry_record(s, "bert", 100, &record, &err), &err);
    CHECK_EQUAL(5, json_array_size(record));
    const json_t *newest = json_array_get(record, 0);
    CHECK_TEXT("rollback", json_string_value(json_object_get(newest, "action")));
    CHECK_TEXT("bob", json_string_value(json_object_get(newest, "by")));
    CHECK_EQUAL(2, json_integer_value(json_object_get(newest, "from")));
    CHECK_TEXT("better F1", json_string_value(json_object_get(json_array_get(record, 1), "note")));
    json_decref(record);
    CHECK_OK(registry_revision(s, &later, &err), &err);
    CHECK(later > revision);
    CHECK_EQUAL(5, test_number("SELECT count(*) FROM event WHERE kind = 'model'"));
    test_end();
}

TEST(a_removed_version_takes_only_its_own_files)
{
    registry_version v;
    str damaged = {0};
    begin();
    enter("bert", "1", NULL);
    enter("bert", "2", NULL);
    CHECK_EQUAL(6, count_blobs());
    CHECK_OK(registry_remove(s, "bert", 1, NULL, &err), &err);
    CHECK_EQUAL(5, count_blobs());
    CHECK_STATUS(FINCH_E_NOT_FOUND, registry_remove(s, "bert", 1, NULL, &err), &err);
    CHECK_OK(registry_find(s, "bert", &v, &err), &err);
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("", damaged.at);
    registry_version_free(&v);
    str_free(&damaged);
    CHECK_EQUAL(3, enter("bert", "1", NULL)); /* its number never comes again */
    test_end();
}

TEST(what_is_known_of_a_version_comes_from_its_evaluation_or_its_card)
{
    registry_version v;
    json_t *metrics, *confusion, *curve, *none, *evaluation = json_pack("{s:i, s:f}", "n", 9, "macro_f1", 0.75);
    begin();
    enter("bert", "1", NULL);
    CHECK_OK(registry_find(s, "bert", &v, &err), &err);
    CHECK_OK(registry_metrics(s, &v, &metrics, &err), &err);
    CHECK_EQUAL(4, json_integer_value(json_object_get(metrics, "n")));
    json_decref(metrics);
    CHECK_OK(registry_confusion(s, &v, &confusion, &err), &err);
    CHECK_EQUAL(2, json_integer_value(json_array_get(json_array_get(json_object_get(confusion, "matrix"), 1), 1)));
    json_decref(confusion);
    CHECK_OK(registry_curve(&v, &curve, &err), &err);
    CHECK_EQUAL(2, json_array_size(curve)); /* the line that was cut is none */
    json_decref(curve);
    CHECK_OK(registry_document(s, &v, "samples", &none, &err), &err);
    CHECK(none == NULL);
    CHECK_OK(registry_attach(s, &v, "evaluation", evaluation, &err), &err);
    CHECK_OK(registry_metrics(s, &v, &metrics, &err), &err);
    CHECK_EQUAL(9, json_integer_value(json_object_get(metrics, "n")));
    json_decref(metrics);
    CHECK_OK(registry_confusion(s, &v, &none, &err), &err);
    CHECK(none == NULL);
    json_decref(evaluation);
    registry_version_free(&v);
    test_end();
}

/* ---- faults ---- */

/* What is listed is whole. */
static void check_listed(void)
{
    registry_version v;
    str damaged = {0};
    if (test_number("SELECT count(*) FROM model_version") == 0) return;
    CHECK_OK(registry_find(s, "bert", &v, &err), &err);
    CHECK_OK(registry_verify(s, &v, &damaged, &err), &err);
    CHECK_TEXT("", damaged.at);
    registry_version_free(&v);
    str_free(&damaged);
}

static void check_fault(fault_kind kind)
{
    registry_version v;
    bool is_new, hit;
    registry_new spec = {.name = "bert", .folder = folder};
    for (int nth = 1;; nth++) {
        fault_arm(kind, nth);
        finch_status st = registry_register(s, &spec, NULL, &v, &is_new, &err);
        hit = fault_disarm();
        if (st == FINCH_OK) registry_version_free(&v);
        if (!hit) CHECK_EQUAL(FINCH_OK, st);
        check_listed();
        if (!hit) return;
        test_run("DELETE FROM model_version");
        test_run("DELETE FROM model_file");
    }
}

TEST(a_registration_that_fails_lists_nothing_half)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    begin();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        model("w");
        check_fault(kinds[i]);
        test_run("DELETE FROM model_version");
        test_run("DELETE FROM model_file");
        CHECK_OK(file_remove_tree(root, &err), &err);
    }
    test_end();
}

/* ---- threads: versions that are registered at once all get a number of their own ---- */

enum { REGISTRARS = 4 };

static void *enter_own(void *context)
{
    const char *at = context;
    store *mine;
    registry_version v;
    bool is_new;
    finch_error e;
    registry_new spec = {.name = "bert", .folder = at};
    if (store_open(test_place(), &mine, &e) != FINCH_OK) return "open";
    bool good = registry_register(mine, &spec, NULL, &v, &is_new, &e) == FINCH_OK && is_new;
    registry_version_free(&v);
    store_close(mine);
    return good ? NULL : "register";
}

/* As a SIGKILL leaves them: a blob that was being copied, a version's folder before its turn, the store's number before its rename. */
TEST(what_a_killed_one_left_is_gone_after_the_next)
{
    static const char *const left[] = {"blobs/.new-0123", "blobs/.new-0123.part-4", "versions/.new-gone@7/config.json",
                                       "store.part-4"};
    char path[700];
    begin();
    enter("mini", "one", NULL);
    size_t n_blobs = count_blobs();
    snprintf(path, sizeof path, "%s/versions/.new-gone@7", root);
    CHECK_OK(file_make_directories(path, &err), &err);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", root, left[i]);
        CHECK_OK(file_write(path, "half", 4, &err), &err);
    }
    enter("mini", "one", NULL);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", root, left[i]);
        CHECK(!file_exists(path));
    }
    CHECK_EQUAL(n_blobs, count_blobs());
    snprintf(path, sizeof path, "%s/versions/mini@1/config.json", root);
    CHECK(file_exists(path));
    snprintf(path, sizeof path, "%s/store", root);
    CHECK(file_exists(path));
    test_end();
}

TEST(versions_registered_at_once_are_all_there)
{
    pthread_t threads[REGISTRARS];
    char folders[REGISTRARS][600];
    begin();
    for (int i = 0; i < REGISTRARS; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/m%d", harness_folder(), i);
        CHECK_OK(file_make_directories(folders[i], &err), &err);
        str path = {0};
        CHECK_OK(file_join(folders[i], "config.json", &path, &err), &err);
        CHECK_OK(file_write(path.at, &"abcd"[i], 1, &err), &err);
        str_free(&path);
    }
    for (int i = 0; i < REGISTRARS; i++) CHECK_EQUAL(0, pthread_create(&threads[i], NULL, enter_own, folders[i]));
    for (int i = 0; i < REGISTRARS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    CHECK_EQUAL(REGISTRARS, test_number("SELECT count(*) FROM model_version"));
    CHECK_EQUAL(REGISTRARS, test_number("SELECT max(number) FROM model_version"));
    test_end();
}
