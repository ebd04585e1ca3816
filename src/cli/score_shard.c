#include "cli/score_shard.h"

#include "cli/ranks.h"

finch_status score_shard_choose(const cli_args *args, size_t *shard, size_t *n_shards, finch_error *err)
{
    size_t rank = 0, n_ranks = 0;
    bool launched = ranks_of_launcher(&rank, &n_ranks);
    *n_shards = cli_given(args, "shards") ? cli_size(args, "shards") : launched ? n_ranks : 0;
    *shard = cli_given(args, "shard") ? cli_size(args, "shard") : launched ? rank : 0;
    if (cli_given(args, "shard") && *n_shards == 0)
        return finch_fail(err, FINCH_E_USAGE, "--shard says which of --shards N; name both");
    if (*n_shards > 0 && !cli_given(args, "shard") && !launched)
        return finch_fail(err, FINCH_E_USAGE, "--shards %zu needs --shard K, from 0 to %zu", *n_shards, *n_shards - 1);
    if (*n_shards > 0 && *shard >= *n_shards)
        return finch_fail(err, FINCH_E_USAGE, "--shard %zu is none of %zu shards; they are 0 to %zu", *shard, *n_shards,
                          *n_shards - 1);
    if (*n_shards > 0 && cli_given(args, "rejects"))
        return finch_fail(err, FINCH_E_USAGE,
                          "shards list broken rows among their parts; give --rejects to finch data concat");
    return FINCH_OK;
}

json_t *score_shard_settings(const cli_args *args, const char *compute)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I}", "text_column", cli_text(args, "text-column"), "prefix",
                     cli_text(args, "prefix"), "compute", compute, "logits", cli_flag(args, "logits"), "max_tokens",
                     (json_int_t)cli_size(args, "max-tokens"), "limit", (json_int_t)cli_size(args, "limit"),
                     "max_line_bytes", (json_int_t)cli_size(args, "max-line-bytes"));
}

static json_int_t count_of(const json_t *manifest, const char *group, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(manifest, group), key));
}

finch_status score_shard_tell_finished(const cli_args *args, const data_shard *s, const json_t *manifest, const char *folder,
                                       const char *compute, finch_error *err)
{
    cli_say(args, "  shard %zu of %zu is finished already: %s\n", s->index, s->count, s->part.at);
    if (!cli_wants_json(args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:s, s:s, s:s, s:I, s:I, s:b}", "rows",
                                    count_of(manifest, "rows", "count"), "scored", count_of(manifest, "counts", "scored"),
                                    "skipped", count_of(manifest, "counts", "skipped"), "rejected",
                                    json_integer_value(json_object_get(manifest, "rejected")), "truncated",
                                    count_of(manifest, "counts", "truncated"), "seconds", 0.0, "texts_per_second", 0.0,
                                    "tokens_per_second", 0.0, "peak_rss_bytes", (json_int_t)cli_peak_rss_bytes(), "model",
                                    folder, "compute", compute, "output", s->part.at, "shard", (json_int_t)s->index,
                                    "shards", (json_int_t)s->count, "finished_before", true),
                          err);
}
