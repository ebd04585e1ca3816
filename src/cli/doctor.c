/* finch doctor: what works on this machine and what does not, with what to do. */
#include "base/clock.h"
#include "cli/cli.h"
#include "data/database.h"
#include "model/model.h"
#include "tensor/cpu.h"
#include "tensor/gemm.h"
#include "tensor/gpu.h"
#include "train/ranks.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

enum { PROBES = 2, PROBE_TOKENS = 64 };

typedef struct exam {
    const cli_args *args;
    json_t *checks; /* [{name, ok, found, remedy}] */
    size_t n_failed;
    bool lost; /* jansson was out of memory */
} exam;

/* One line of the report, and one entry of the document. Where ok, remedy is not shown. */
static void FINCH_PRINTF(5, 6) note(exam *e, const char *name, bool ok, const char *remedy, const char *format, ...)
{
    char text[1000];
    va_list list;
    va_start(list, format);
    if (vsnprintf(text, sizeof text, format, list) < 0) text[0] = '\0';
    va_end(list);
    cli_say(e->args, "%s %-12s %s\n", ok ? "ok  " : "FAIL", name, text);
    if (!ok && remedy[0] != '\0') cli_say(e->args, "     %-12s -> %s\n", "", remedy);
    json_t *entry = json_pack("{s:s, s:b, s:s, s:s?}", "name", name, "ok", (int)ok, "found", text, "remedy",
                              ok ? NULL : remedy);
    if (json_array_append_new(e->checks, entry) != 0) e->lost = true;
    if (!ok) e->n_failed++;
}

/* ---- the machine ---- */

static finch_status check_cpu(exam *e, finch_error *err)
{
    str features = {0};
    finch_status st = FINCH_OK;
    for (int i = 0; st == FINCH_OK && i < CPU_FEATURE_COUNT; i++)
        if (cpu_has((cpu_feature)i)) st = str_add_format(&features, err, " %s", cpu_feature_name((cpu_feature)i));
    if (st == FINCH_OK) note(e, "cpu", true, "", "kernels for %s; has%s", cpu_isa(), features.at);
    str_free(&features);
    return st;
}

static finch_status check_kernels(exam *e, finch_error *err)
{
    str chosen = {0};
    ops_line line;
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && ops_describe(i, &line); i++)
        st = str_add_format(&chosen, err, "%s%s %s", i > 0 ? ", " : "", line.operation, line.variant);
    if (st == FINCH_OK) note(e, "kernels", true, "", "%s", chosen.at != NULL ? chosen.at : "");
    str_free(&chosen);
    return st;
}

static void check_threads(exam *e)
{
    note(e, "threads", true, "", "%zu used of %ld processors", cli_threads(e->args), sysconf(_SC_NPROCESSORS_ONLN));
}

static void check_memory(exam *e)
{
    static const double gigabyte = 1e9, least = 0.5;
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double free_bytes = pages > 0 && page > 0 ? (double)pages * (double)page : 0;
    note(e, "memory", free_bytes > least * gigabyte, "close other programs; scoring needs about half a gigabyte",
         "%.1f GB free", free_bytes / gigabyte);
}

/* ---- libraries ---- */

static void check_libraries(exam *e)
{
    note(e, "oneDNN", true, "", "%s", gemm_describe());
    note(e, "jansson", true, "", "%s", jansson_version_str());
    note(e, "utf8proc", true, "", "%s", utf8proc_version());
#ifdef _OPENMP
    note(e, "OpenMP", true, "", "%d", _OPENMP);
#else
    note(e, "OpenMP", false, "build with -DFINCH_OPENMP=ON to use all processors", "not built in: one thread only");
#endif
}

/* DuckDB answers a query: reading tables is more than having the library. */
static void check_tables(exam *e)
{
    data_database db = {0};
    finch_error err = {0};
    uint64_t n = 0;
    finch_status st = data_database_open(&db, &err);
    if (st == FINCH_OK) st = data_query_count(&db, "SELECT count(*) FROM range(3)", &n, &err);
    if (st == FINCH_OK && n != 3)
        st = finch_fail(&err, FINCH_E_FAILED, "a query over 3 rows counts %llu", (unsigned long long)n);
    data_database_close(&db);
    if (st == FINCH_OK) note(e, "DuckDB", true, "", "%s, answers queries", data_library_version());
    else
        note(e, "DuckDB", false, "run make build again: it fetches the pinned library", "%s: %s", data_library_version(),
             err.message);
}

/* Only training by several processes needs it: its absence is told and is no failure. */
static void check_mpi(exam *e)
{
    char library[RANKS_WHY_BYTES], why[RANKS_WHY_BYTES];
    if (ranks_available(library, why)) note(e, "MPI", true, "", "%s: mpirun -n N finch train", library);
    else note(e, "MPI", true, "", "not there, so finch train runs in one process: %s", why);
}

/* Nothing needs one: its absence is told and is no failure. */
static void check_gpu(exam *e)
{
    gpu_device device;
    char why[GPU_WHY_BYTES] = "";
    if (gpu_look(&device, why) == GPU_READY)
        note(e, "GPU", true, "", "%s, sm_%d, %.1f GB, %d multiprocessors; driver for CUDA %d.%d; no command uses it yet",
             device.name, device.capability, (double)device.memory_bytes / 1e9, device.n_multiprocessors,
             device.driver / 1000, device.driver % 1000 / 10);
    else note(e, "GPU", true, "", "not there, so finch runs on the CPU: %s", why);
}

/* ---- the model ---- */

static const char *const probe_texts[PROBES] = {
    "$AAPL beats estimates and raises guidance, record quarter, strong buy!",
    "$AAPL misses badly, cuts guidance and faces a lawsuit, sell everything now",
};

typedef struct probe {
    double sentiment[PROBES];
    const char *label[PROBES];
    double milliseconds;
    bool sane; /* finite, and probabilities that sum to 1 */
} probe;

static void read_probabilities(const model *m, const float *probabilities, size_t n_labels, size_t i, probe *out)
{
    const float *row = probabilities + i * n_labels;
    double sum = 0;
    for (size_t j = 0; j < n_labels; j++) sum += (double)row[j];
    out->label[i] = model_get_config(m)->labels[model_best_label(row, n_labels)];
    out->sentiment[i] = model_sentiment(m, row);
    if (!(fabs(sum - 1) < 1e-5) || !isfinite(out->sentiment[i])) out->sane = false;
}

static finch_status run_probe(const model *m, probe *out, finch_error *err)
{
    finch_text texts[PROBES];
    size_t n_labels = model_get_config(m)->n_labels;
    float *values;
    model_scorer *scorer = NULL;
    *out = (probe){.sane = true};
    for (size_t i = 0; i < PROBES; i++) texts[i] = (finch_text){probe_texts[i], strlen(probe_texts[i])};
    FINCH_TRY(mem_alloc(PROBES * n_labels, sizeof *values, (void **)&values, err));
    finch_status st = model_scorer_create(m, 0, &scorer, err);
    if (st == FINCH_OK) st = model_score_texts(scorer, texts, PROBES, PROBE_TOKENS, values, NULL, err);
    double begin = clock_seconds();
    if (st == FINCH_OK) st = model_score_texts(scorer, texts, 1, PROBE_TOKENS, values, NULL, err);
    out->milliseconds = (clock_seconds() - begin) * 1e3;
    if (st == FINCH_OK) st = model_score_texts(scorer, texts, PROBES, PROBE_TOKENS, values, NULL, err);
    if (st == FINCH_OK) model_probabilities(m, values, PROBES, values);
    for (size_t i = 0; st == FINCH_OK && i < PROBES; i++) read_probabilities(m, values, n_labels, i, out);
    model_scorer_destroy(scorer);
    mem_free(values);
    return st;
}

static void check_probe(exam *e, const model *m)
{
    static const char retrain[] =
        "the model's weights or labels are not what they should be: get the folder again, or choose another with --model";
    finch_error err = {0};
    probe p;
    finch_status st = run_probe(m, &p, &err);
    if (st != FINCH_OK) {
        note(e, "probe", false, retrain, "%s", err.message);
        return;
    }
    bool right = p.sane && p.sentiment[0] > p.sentiment[1];
    note(e, "probe", right, retrain, "a good tweet %+.2f (%s), a bad one %+.2f (%s); %.1f ms for one", p.sentiment[0],
         p.label[0], p.sentiment[1], p.label[1], p.milliseconds);
}

static finch_status check_model(exam *e, finch_error *err)
{
    str folder = {0};
    model *m = NULL;
    finch_error why = {0};
    finch_status st = cli_model_folder(cli_text(e->args, "model"), &folder, &why);
    if (st == FINCH_OK) st = model_open(folder.at, MODEL_AUTO, &m, &why);
    if (st == FINCH_OK) {
        const model_config *c = model_get_config(m);
        note(e, "model", true, "", "%s: %zu layers of %zu, %zu labels, %s", folder.at, c->n_layers, c->hidden_size,
             c->n_labels, model_compute_name(model_get_compute(m)));
        check_probe(e, m);
    } else {
        note(
            e, "model", false,
            "get the model that ships (make model, or git checkout models), set FINCH_MODELS, or give a folder with --model",
            "%s", why.message);
    }
    model_close(m);
    str_free(&folder);
    return st == FINCH_E_MEMORY ? finch_fail(err, st, "%s", why.message) : FINCH_OK;
}

/* ---- the command ---- */

static finch_status examine(exam *e, finch_error *err)
{
    note(e, "finch", true, "", "%s", finch_version());
    FINCH_TRY(check_cpu(e, err));
    FINCH_TRY(check_kernels(e, err));
    check_threads(e);
    check_memory(e);
    check_libraries(e);
    check_tables(e);
    check_mpi(e);
    check_gpu(e);
    return check_model(e, err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    exam e = {.args = args, .checks = json_array()};
    finch_status st = examine(&e, err);
    if (st == FINCH_OK && e.lost) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the report");
    if (st == FINCH_OK && cli_wants_json(args))
        st = cli_print_json(json_pack("{s:b, s:s, s:I, s:O}", "ok", (int)(e.n_failed == 0), "version", finch_version(),
                                      "threads", (json_int_t)cli_threads(args), "checks", e.checks),
                            err);
    json_decref(e.checks);
    if (st == FINCH_OK && e.n_failed > 0)
        st = finch_fail(err, FINCH_E_FAILED, "%zu of the checks failed; each says what to do", e.n_failed);
    return st;
}

static const cli_option options[] = {CLI_OPTION_MODEL, {0}};

const cli_command cli_command_doctor = {
    .name = "doctor",
    .group = CLI_GROUP_LOOK,
    .summary = "what works on this machine, what does not, and what to do",
    .about = "Shows the CPU's features and the kernels chosen for them, threads, memory, libraries and their versions, "
             "opens the model and "
             "scores two tweets with it. Ends with 1 where something finch needs does not work.",
    .example = "finch doctor\n"
               "finch doctor --json --model models/finch-mini-5",
    .options = options,
    .run = run,
};
