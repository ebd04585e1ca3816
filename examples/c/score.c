/* The sentiment of the texts on the command line:  score MODEL TEXT...
 * Built against an installed finch:  cc -std=c17 score.c $(pkg-config --cflags --libs finch) -o score */
#include <finch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The class with the highest probability. */
static size_t best_of(const float *probabilities, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (probabilities[i] > probabilities[best]) best = i;
    return best;
}

static finch_status print_scores(const finch_model *model, const finch_text *texts, size_t n, finch_error *err)
{
    size_t n_classes = finch_model_n_classes(model);
    float *probabilities = calloc(n * n_classes, sizeof *probabilities);
    double *sentiments = calloc(n, sizeof *sentiments);
    finch_status st = FINCH_E_MEMORY;
    if (probabilities != NULL && sentiments != NULL) st = finch_score(model, texts, n, NULL, probabilities, sentiments, err);
    else snprintf(err->message, sizeof err->message, "out of memory");
    for (size_t i = 0; st == FINCH_OK && i < n; i++)
        printf("%s\t%+.4f\t%.*s\n", finch_model_label(model, best_of(probabilities + i * n_classes, n_classes)),
               sentiments[i], (int)texts[i].size_bytes, texts[i].at);
    free(probabilities);
    free(sentiments);
    return st;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL TEXT...\n", argv[0]);
        return finch_status_exit_code(FINCH_E_USAGE);
    }
    size_t n = (size_t)argc - 2;
    finch_text *texts = calloc(n, sizeof *texts);
    finch_model *model = NULL;
    finch_error err = {0};
    finch_status st = texts != NULL ? finch_model_open(argv[1], FINCH_COMPUTE_AUTO, &model, &err) : FINCH_E_MEMORY;
    for (size_t i = 0; st == FINCH_OK && i < n; i++) texts[i] = (finch_text){argv[i + 2], strlen(argv[i + 2])};
    if (st == FINCH_OK) st = print_scores(model, texts, n, &err);
    if (st != FINCH_OK) fprintf(stderr, "%s: %s: %s\n", argv[0], finch_status_text(st), err.message);
    finch_model_close(model);
    free(texts);
    return finch_status_exit_code(st);
}
