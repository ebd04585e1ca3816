/* finch review: people look at the labels that are most in doubt. One key labels and goes on. */
#include "cli/cli.h"
#include "cli/review_screen.h"
#include "label/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const cli_option options[] = {
    CLI_OPTION_STATE,
    {"job", "NAME", CLI_TEXT, NULL, "the labelling job; the newest where not given", false, 0, 0},
    {"reviewer", "NAME", CLI_TEXT, NULL, "who is looking; $USER where not given", false, 0, 0},
    {"order", "doubt|random|input", CLI_CHOICE, "doubt",
     "the most doubtful first, or a fair sample that is the same for everyone, or as the input had them", false, 0, 0},
    {"limit", "N", CLI_SIZE, "1000", "tweets at most", false, 1, 1000000},
    {"blind", NULL, CLI_FLAG, NULL, "show nothing of what the models said", false, 0, 0},
    {"again", NULL, CLI_FLAG, NULL, "also what the reviewer has labelled already", false, 0, 0},
    {0},
};

/* ---- one sitting ---- */

typedef struct step {
    size_t at;
    int before; /* the reviewer's label before it */
    bool skip;
} step;

typedef struct sitting {
    terminal terminal;
    review_view view;
    step *steps; /* what u takes back */
    size_t n_steps, n_room;
} sitting;

static finch_status remember(sitting *s, bool skip, finch_error *err)
{
    const review *r = s->view.review;
    if (s->n_steps == s->n_room) {
        size_t wanted = s->n_room == 0 ? 64 : s->n_room * 2;
        FINCH_TRY(mem_grow((void **)&s->steps, s->n_room * sizeof *s->steps, wanted, sizeof *s->steps, err));
        s->n_room = wanted;
    }
    s->steps[s->n_steps++] = (step){s->view.at, r->items[s->view.at].mine, skip};
    return FINCH_OK;
}

static finch_status give_label(sitting *s, int label, finch_error *err)
{
    review_view *v = &s->view;
    FINCH_TRY(remember(s, false, err));
    FINCH_TRY(review_mark(v->review, v->at, label, err));
    v->n_saved++;
    v->at++;
    snprintf(v->message, sizeof v->message, "saved: %s", values_class_name(label));
    return FINCH_OK;
}

static finch_status skip(sitting *s, finch_error *err)
{
    FINCH_TRY(remember(s, true, err));
    s->view.n_skipped++;
    s->view.at++;
    snprintf(s->view.message, sizeof s->view.message, "skipped");
    return FINCH_OK;
}

static finch_status take_back(sitting *s, finch_error *err)
{
    review_view *v = &s->view;
    if (s->n_steps == 0) {
        snprintf(v->message, sizeof v->message, "nothing to take back");
        return FINCH_OK;
    }
    const step *last = &s->steps[s->n_steps - 1];
    if (last->skip) v->n_skipped--;
    else {
        FINCH_TRY(review_mark(v->review, last->at, last->before, err));
        v->n_saved--;
    }
    v->at = last->at;
    s->n_steps--;
    snprintf(v->message, sizeof v->message, "taken back");
    return FINCH_OK;
}

static finch_status show_agreement(sitting *s, finch_error *err)
{
    int key = TERMINAL_KEY_RESIZED;
    while (key == TERMINAL_KEY_RESIZED) {
        FINCH_TRY(review_draw_agreement(&s->terminal, &s->view, err));
        FINCH_TRY(terminal_show(&s->terminal, true, err));
        FINCH_TRY(terminal_read_key(&s->terminal, &key, err));
    }
    return FINCH_OK;
}

/* What a key does. *fresh: another tweet comes up. */
static finch_status take_key(sitting *s, int key, bool *fresh, finch_error *err)
{
    review_view *v = &s->view;
    bool at_tweet = v->at < v->review->n_items;
    *fresh = true;
    if (key >= '1' && key <= '5' && at_tweet) return give_label(s, key - '1', err);
    if (key == 's' && at_tweet) return skip(s, err);
    if (key == 'u') return take_back(s, err);
    if (key == 'k') return show_agreement(s, err);
    *fresh = false;
    if (key == 'b') v->blind = !v->blind;
    else if (key != TERMINAL_KEY_RESIZED) snprintf(v->message, sizeof v->message, "that key does nothing here");
    return FINCH_OK;
}

static bool ends(int key)
{
    enum { CONTROL_D = 4 };
    return key == 'q' || key == CONTROL_D || key == TERMINAL_KEY_GONE;
}

static finch_status sit(sitting *s, finch_error *err)
{
    bool fresh = true;
    for (;;) {
        int key = 0;
        FINCH_TRY(review_draw(&s->terminal, &s->view, err));
        FINCH_TRY(terminal_show(&s->terminal, fresh, err));
        FINCH_TRY(terminal_read_key(&s->terminal, &key, err));
        if (ends(key)) return FINCH_OK;
        FINCH_TRY(take_key(s, key, &fresh, err));
    }
}

/* Ctrl-C ends a sitting as q does: everything shown as saved is saved. */
static finch_status review_by_hand(review *r, bool blind, review_view *after, finch_error *err)
{
    sitting s = {.view = {.review = r, .blind = blind}};
    finch_status st = terminal_open(&s.terminal, err);
    if (st == FINCH_OK) st = sit(&s, err);
    terminal_close(&s.terminal);
    mem_free(s.steps);
    *after = s.view;
    return st;
}

/* ---- what is printed ---- */

static json_t *real_or_null(double value) { return isnan(value) ? json_null() : json_real(value); }

static json_t *class_or_null(int label)
{
    return label == REVIEW_NONE ? json_null() : json_string(values_class_name(label));
}

static finch_status add_opinion(void *context, const review_opinion *o, finch_error *err)
{
    json_t *one = json_pack("{s:s, s:o, s:o}", "source", o->source, "label", class_or_null(o->label), "confidence",
                            real_or_null(o->confidence));
    return json_array_append_new(context, one) == 0 ? FINCH_OK
                                                    : finch_fail(err, FINCH_E_MEMORY, "out of memory for the queue");
}

static finch_status add_queue(json_t *queue, review *r, finch_error *err)
{
    for (size_t i = 0; i < r->n_items; i++) {
        const review_item *item = &r->items[i];
        json_t *answers = json_array();
        json_t *one = json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:f, s:o, s:o}", "seq", (json_int_t)item->seq, "hash",
                                item->hash, "text", item->text, "label", class_or_null(item->label), "confidence",
                                real_or_null(item->confidence), "reason",
                                item->reason != NULL ? json_string(item->reason) : json_null(), "doubt", item->doubt,
                                "yours", class_or_null(item->mine), "answers", answers);
        if (json_array_append_new(queue, one) != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the queue");
        FINCH_TRY(review_opinions(r, i, add_opinion, answers, err));
    }
    return FINCH_OK;
}

static json_t *table_json(const review_pair *pair)
{
    json_t *rows = json_array();
    for (size_t a = 0; a < REVIEW_CLASSES; a++) {
        json_t *row = json_array();
        for (size_t b = 0; b < REVIEW_CLASSES; b++) json_array_append_new(row, json_integer((json_int_t)pair->table[a][b]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static finch_status add_agreement(json_t *list, review *r, finch_error *err)
{
    review_agreement agreement;
    finch_status st = review_agree(r, &agreement, err);
    for (size_t i = 0; st == FINCH_OK && i < agreement.n_pairs; i++) {
        const review_pair *p = &agreement.pairs[i];
        json_t *one = json_pack("{s:s, s:s, s:I, s:f, s:o, s:o, s:o, s:o}", "a", p->a, "b", p->b, "n", (json_int_t)p->n,
                                "agree", p->agree, "kappa", real_or_null(p->kappa), "kappa_low", real_or_null(p->kappa_low),
                                "kappa_high", real_or_null(p->kappa_high), "table", table_json(p));
        if (json_array_append_new(list, one) != 0) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the agreement");
    }
    review_agreement_close(&agreement);
    return st;
}

static finch_status print_json(review *r, finch_error *err)
{
    json_t *queue = json_array(), *agreement = json_array();
    json_t *whole = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "job", r->job_name.at, "reviewer", r->reviewer.at, "waiting",
                              (json_int_t)r->n_waiting, "done", (json_int_t)r->n_done, "queue", queue, "agreement",
                              agreement);
    finch_status st = whole == NULL ? finch_fail(err, FINCH_E_MEMORY, "out of memory for the queue") : FINCH_OK;
    if (st == FINCH_OK) st = add_queue(queue, r, err);
    if (st == FINCH_OK) st = add_agreement(agreement, r, err);
    if (st == FINCH_OK) return cli_print_json(whole, err);
    json_decref(whole);
    return st;
}

static finch_status say_end(const cli_args *args, review *r, const review_view *v, finch_error *err)
{
    review_agreement agreement;
    pen p = pen_open(STDERR_FILENO);
    finch_status st = review_agree(r, &agreement, err);
    if (st == FINCH_OK) st = str_add_text(&p.out, "", err);
    if (st == FINCH_OK) st = review_add_pairs(&p, &agreement, p.width, 0, err);
    if (st == FINCH_OK) {
        uint64_t left = r->n_waiting > v->n_saved ? r->n_waiting - v->n_saved : 0;
        cli_say(args, "%" PRIu64 " saved, %" PRIu64 " skipped, %" PRIu64 " of the job not yet seen by %s\n", v->n_saved,
                v->n_skipped, left, r->reviewer.at);
        if (agreement.n_pairs > 0)
            cli_say(args, "agreement (tweets, equal labels, Cohen's kappa with its 95 %% interval):\n%s", p.out.at);
    }
    review_agreement_close(&agreement);
    str_free(&p.out);
    return st;
}

static const char *reviewer_of(const cli_args *args)
{
    const char *given = cli_text(args, "reviewer"), *user = getenv("USER");
    return given != NULL ? given : user != NULL && user[0] != '\0' ? user : getenv("LOGNAME");
}

static finch_status run(const cli_args *args, finch_error *err)
{
    review_options wanted = {.job = cli_text(args, "job"),
                             .reviewer = reviewer_of(args),
                             .order = (review_order)cli_choice(args, "order"),
                             .again = cli_flag(args, "again"),
                             .limit = cli_size(args, "limit")};
    store *s = NULL;
    review r = {0};
    review_view after = {0};
    finch_status st = store_open(cli_text(args, "state"), &s, err);
    if (st == FINCH_OK) st = review_open(s, &wanted, &r, err);
    if (st == FINCH_OK && cli_wants_json(args)) st = print_json(&r, err);
    else if (st == FINCH_OK) {
        st = review_by_hand(&r, cli_flag(args, "blind"), &after, err);
        if (st == FINCH_OK) st = say_end(args, &r, &after, err);
    }
    review_close(&r);
    store_close(s);
    return st;
}

const cli_command cli_command_review = {
    .name = "review",
    .group = CLI_GROUP_MAKE,
    .summary = "look at the labels that are most in doubt",
    .about = "A screen in the terminal shows a tweet of a labelling job with its label and what each model said, the most "
             "doubtful "
             "first: 1 to 5 label it (1 is STRONGLY_NEGATIVE) and go on, s skips, u takes back, b hides what the models "
             "said, k shows "
             "how well people and models agree, q ends. A label is in the store before the screen says so; a key that is "
             "typed before "
             "a tweet is shown, and what is pasted, counts for nothing.\n"
             "With --json nothing is asked: the queue and the agreement are printed. Cohen's kappa is told for each two "
             "raters on the "
             "tweets that both labelled, among those a person or the gold file labelled. Chosen by doubt these are the hard "
             "ones: for "
             "a figure that stands for the whole job review with --order random.",
    .example = "finch review --reviewer anna\n"
               "finch review --reviewer ben --blind --order random --limit 200\n"
               "finch review --json --limit 20",
    .options = options,
    .run = run,
};
