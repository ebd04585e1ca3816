"""The planted bugs: each is one a person could make, and names the test that must see it."""
from typing import NamedTuple


class Mutant(NamedTuple):
    room: str
    file: str
    what: str  # the bug in words
    old: str   # exactly once in the file
    new: str
    test: str  # the name in ctest


BASE = [
    ("src/base/bytes.c", "a range that ends before it begins passes", "if (begin > end || end > whole.size)", "if (end > whole.size)",
     "base_test_bytes"),
    ("src/base/bytes.c", "numbers are read big-endian", "<< (8 * i)", "<< (8 * (taken.size - 1 - i))", "base_test_bytes"),
    ("src/base/mem.c", "products of sizes wrap", "if (__builtin_mul_overflow(a, b, &product)) return false;", "product = a * b;", "base_test_mem"),
    ("src/base/mem.c", "zeroed memory is not", "    memset(*out, 0, n * item_bytes);\n", "", "base_test_mem"),
    ("src/base/mem.c", "a block that is freed stays counted", "    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);\n", "", "base_test_mem"),
    ("src/base/fault.c", "a fault strikes again and again", "== 1;", "<= 1;", "base_test_mem"),
    ("src/base/str.c", "added text forgets what was there", "s->size += size;", "s->size = size;", "base_test_str"),
    ("src/base/str.c", "clearing keeps the old text's end", "if (s->at != NULL) s->at[0] = '\\0';", "", "base_test_str"),
    ("src/base/rng.c", "a round of Philox too few", "PHILOX_ROUNDS = 10", "PHILOX_ROUNDS = 9", "base_test_rng"),
    ("src/base/rng.c", "bounded draws favour small numbers", "while (draw < reject);", "while (0);", "base_test_rng"),
    ("src/base/rng.c", "the shuffle draws from all places each time", "rng_below(r, left)", "rng_below(r, n)", "base_test_rng"),
    ("src/base/status.c", "messages are cut inside a character",
     "    while (end > 0 && ((unsigned char)message[end - 1] & 0xC0u) == 0x80u) end--;\n", "", "base_test_status"),
    ("src/base/status.c", "the row of an error is lost", "err->row = row;", "err->row = 0;", "base_test_status"),
    ("src/base/file.c", "a failed commit leaves its part file", "    if (st != FINCH_OK) unlink(writer->beside.at);\n", "", "base_test_file"),
    ("src/base/file.c", "what a crash left beside blocks the output", "    if (unlink(path) != 0 && errno != ENOENT) return -1;\n", "", "base_test_file"),
    ("src/base/file.c", "outputs replace devices", "if (S_ISREG(info.st_mode)) return FINCH_OK;", "return FINCH_OK;", "base_test_file"),
    ("src/base/file.c", "the limit of a read is one too high", "if (*size > limit_bytes)", "if (*size > limit_bytes + 1)", "base_test_file"),
    ("src/base/json.c", "a key may come twice", "JSON_REJECT_DUPLICATES | ", "", "base_test_json"),
    ("src/base/json.c", "texts are cut at a NUL", "strlen(json_string_value(field)) != json_string_length(field)", "0", "base_test_json"),
    ("src/base/json.c", "numbers below zero pass as sizes", " || json_integer_value(field) < 0", "", "base_test_json"),
    ("src/base/arena.c", "released memory stays counted", "a->used_bytes = place.used_bytes;", "", "base_test_arena"),
]

CLI = [
    ("src/cli/options.c", "a required option may be left out", "if (option->required && !value->given)", "if (0)", "cli_test_options"),
    ("src/cli/options.c", "numbers past the bound pass", "number <= option->maximum", "number <= option->maximum + 1", "cli_test_options"),
    ("src/cli/options.c", "-- does not end the options", "r->ended = true;", "r->ended = false;", "cli_test_options"),
    ("src/cli/output.c", "a full disk goes unseen", " && fflush(stdout) == 0", "", "cli_test_help"),
    ("src/cli/completion.c", "common options are not completed",
     "    for (const cli_option *o = cli_common_options; o->name != NULL; o++) FINCH_TRY(add(out, command, o, err));\n", "", "cli_test_completion"),
    ("src/cli/review.c", "saved is said and nothing is saved", "    FINCH_TRY(review_mark(v->review, v->at, label, err));\n", "", "cli_test_review"),
    ("src/cli/terminal.c", "pasted digits label", "    if (strcmp(seen, PASTE_BEGINS) == 0) drop_paste();\n", "", "cli_test_review"),
    ("src/cli/terminal.c", "digits typed before a tweet is shown label it", "if (st == FINCH_OK && fresh) tcflush(STDIN_FILENO, TCIFLUSH);", "(void)fresh;",
     "cli_test_review"),
    ("src/cli/terminal.c", "texts go to the terminal as they are", "pen_add_sane(&sane, text, WRAP_COLUMNS_MOST, NULL, err)",
     "str_add_text(&sane.out, text, err)", "cli_test_review"),
    ("src/label/review.c", "kappa forgets chance", "(p->agree - chance) / left", "p->agree", "cli_test_review"),
    ("src/label/review.c", "the surest come first", "doubt DESC, q.seq", "doubt, q.seq", "cli_test_review"),
    ("src/cli/doctor.c", "a failed check ends with 0", "if (!ok) e->n_failed++;", "", "cli_test_doctor"),
    ("src/cli/jsonl_text.c", "pairs of surrogates give another character", "c = 0x10000 + ((c - 0xD800) << 10)", "c = ((c - 0xD800) << 10)",
     "cli_test_tokenize"),
    ("src/cli/jsonl_text.c", "of equal keys both count", "    out->size = out_size; /* of equal keys the last one counts */\n", "", "cli_test_tokenize"),
    ("src/cli/tokenize.c", "the last row of a thread's share is lost", "n_rows * (i + 1) / e->n_workers)", "n_rows * (i + 1) / e->n_workers - 1)",
     "cli_test_tokenize"),
    ("src/cli/text_source.c", "a line across two pieces loses its beginning",
     "FINCH_TRY(str_add(&s->line, (const char *)part.at, part.size, err));", "if (whole) FINCH_TRY(str_add(&s->line, (const char *)part.at, part.size, err));",
     "cli_test_tokenize"),
]

TEXT = [
    ("src/text/entity.c", "decoding stops after one round", "mode == ENTITY_ALL ? open_reference(out) : 0", "0", "text_test_clean"),
    ("src/text/entity.c", "old names need their ';'", "if (prefix != NULL && prefix->legacy)", "if (0)", "text_test_clean"),
    ("src/text/clean_piece.c", "prices are names", " || is_price(t, begin + 1, end)", "", "text_test_clean"),
    ("src/text/clean_piece.c", "a cut link is text", "    if (cut > begin) {\n", "    if (0) {\n", "text_test_clean"),
    ("src/text/clean_words.c", "a mark in the middle of a text is a retweet's", "    if (w->began) return false;\n", "", "text_test_clean"),
    ("src/text/mojibake.c", "an accented capital before a quotation mark is mojibake", "return is_upper(before) || s.typographic ? is_lower(behind) : true;",
     "return true;", "text_test_clean"),
    ("src/text/clean_chars.c", "more marks than the limit stay", "if (run->n + more > CLEAN_MARKS_MAX) return true;",
     "if (run->n + more > CLEAN_MARKS_MAX + 1) return true;", "text_test_clean"),
    ("src/text/ticker.c", "names with a rule count everywhere", "case TICKER_CONTEXT: return s->capital && has_context(t, s->end);",
     "case TICKER_CONTEXT: return s->capital;", "text_test_ticker"),
    ("src/text/ticker.c", "an amount is a cashtag", "if (root == 0 || root > ROOT_MAX || goes_on(t, end)) return false;",
     "if (root > ROOT_MAX || goes_on(t, end)) return false;", "text_test_ticker"),
    ("src/text/language.c", "hashtags count as words", "r->skipped = r->tagged;", "r->skipped = false;", "text_test_language"),
    ("src/text/encode.c", "an unknown word leaves the pieces found so far", "    e->n = n_before;\n", "", "text_test_wordpiece"),
    ("src/text/encode.c", "later pieces are looked up as first ones", "root = t->rest_root)", "root = t->word_root)", "text_test_wordpiece"),
    ("src/text/encode.c", "words of any length are spelt", "if (!word_too_long(t, begin, at)) return at;", "return at;", "text_test_wordpiece"),
    ("src/text/encode.c", "a punctuation mark begins a word", "else if ((class & CHAR_PUNCT) != 0) at = encode_mark(e, text, at, c);",
     "else if ((class & CHAR_PUNCT) != 0) at += c.size;", "text_test_wordpiece"),
    ("src/text/normalize.c", "letters keep their case", "if (!n->t->rules.lower_case) {", "if (1) {", "text_test_wordpiece"),
    ("src/text/normalize.c", "marks come out as they went in", "(text_mark){code, (unsigned char)order, joined}", "(text_mark){code, 1, joined}",
     "text_test_unicode"),
    ("src/text/added.c", "an added token inside a word is taken", "if (token->single_word && !stands_alone(at, size, i, i + length)) {", "if (0) {",
     "text_test_wordpiece"),
    ("src/text/unicode.c", "newer marks are dropped like old ones", "const exception_range *exception = exception_find(code);\n    unsigned bits",
     "const exception_range *exception = NULL;\n    unsigned bits", "text_test_unicode"),
    ("src/text/utf8.c", "surrogates are UTF-8", "if (lead == 0xED) *high = 0x9F;", "if (lead == 0xED) *high = 0xBF;", "text_test_unicode"),
    ("src/text/trie.c", "children may stand where others do", "if (!unit_is_free(b, base ^ labels[i])) return false;",
     "if (i == 1 && !unit_is_free(b, base ^ labels[i])) return false;", "text_test_trie"),
    ("src/text/tokenizer.c", "a piece may stand twice", "if (!text_equal(t->pieces[first], t->pieces[second])) continue;", "continue;",
     "text_test_tokenizer_files"),
]

TENSOR = [
    ("src/tensor/gguf.c", "GGUF tensors may overlap", "g->tensors[i].data < g->tensors[i - 1].data + g->tensors[i - 1].size_bytes",
     "g->tensors[i].data < g->tensors[i - 1].data", "tensor_test_gguf"),
    ("src/tensor/gguf.c", "a GGUF tensor may reach past the file", "t->size_bytes > data.size - offsets[i])", "false)", "tensor_test_gguf"),
    ("src/tensor/gguf.c", "GGUF shapes keep the file's order", "for (size_t i = n_dims; i-- > 0;) {", "for (size_t i = 0; i < n_dims; i++) {",
     "tensor_test_gguf"),
    ("src/tensor/gguf_blocks.c", "the fifth bits are those of other items", "high >> item & 1u", "high >> (item ^ 1u) & 1u", "tensor_test_gguf"),
    ("src/tensor/gguf_blocks.c", "late groups forget the high bits of their scales", "(unsigned)(packed[j - 4] >> 6) << 4", "0u", "tensor_test_gguf"),
    ("src/tensor/safetensors.c", "tensors may overlap", "if (at != reached)", "if (at > reached)", "tensor_test_safetensors"),
    ("src/tensor/safetensors.c", "bytes behind the last tensor pass", "if (used == data.size) return FINCH_OK;", "return FINCH_OK;",
     "tensor_test_safetensors"),
    ("src/tensor/tensor.c", "f16 rounds half down", "((bits >> 13) & 1u)) >> 13;", "0u) >> 13;", "tensor_test_tensor"),
    ("src/tensor/tensor.c", "large f16 numbers are infinite too early", "bits >= 0x47800000u", "bits >= 0x47000000u", "tensor_test_tensor"),
    ("src/tensor/compressed.c", "int8 weights use half the range", "scale[r] = largest / 127.0f;", "scale[r] = largest / 63.0f;",
     "tensor_test_compressed"),
    ("src/tensor/kernels/amx/tiles.h", "the rest of k is left out", "    if (k < end) tile_last_step(t, k, both);\n", "    (void)tile_last_step;\n",
     "tensor_test_tiles"),
    ("src/tensor/kernels/amx/tiles.h", "a quarter of the sums begins with the block before", "        _tile_zero(3);\n", "", "tensor_test_tiles"),
]

MODEL = [
    ("src/model/trainable_backward.c", "the norm's shift has no gradient",
     "    add_partials(t, partials + a->width, blocks, ld, a->width, norm->dshift);\n", "", "model_test_trainable_curve"),
    ("src/model/trainable_backward.c", "the last block of rows is left out", "return (n_rows + TRAINABLE_BLOCK_ROWS - 1) / TRAINABLE_BLOCK_ROWS;",
     "return n_rows < TRAINABLE_BLOCK_ROWS ? 1 : n_rows / TRAINABLE_BLOCK_ROWS;", "model_test_trainable_curve"),
    ("src/model/forward.c", "the first token has the second one's place", "c->position_offset + place++;", "c->position_offset + ++place;",
     "model_test_parity"),
    ("src/model/config.c", "sizes below the least pass", "if (*out < least || *out > most)", "if (*out > most)", "model_test_config"),
]

TRAIN = [
    ("src/train/stopping.c", "patience lasts one evaluation longer", "state->without_progress >= rule->patience",
     "state->without_progress > rule->patience", "train_test_stopping"),
    ("src/train/stopping.c", "a guard never holds anything back", "return n_worse == 0;", "return true;", "train_test_stopping"),
    ("src/train/stopping.c", "losses count as better where they are higher", "return metrics_higher_is_better(id) ? value - best : best - value;",
     "return value - best;", "train_test_stopping"),
    ("src/train/checkpoint.c", "arrays of another type are put back", "t->dtype == wanted->dtype && ", "", "train_test_checkpoint"),
    ("src/train/metrics.c", "kappa forgets chance", "(right * n - chance) / (n * n - chance)", "right / n", "train_test_metrics"),
    ("src/train/adamw.c", "the second moment's bias stays", "c.correction = (float)sqrt(1.0 - pow(o->beta2, n));", "c.correction = 1.0f;",
     "train_test_adamw"),
    ("src/train/adamw.c", "weights do not decay", "c.decay = (float)(1.0 - learning_rate * o->weight_decay);", "c.decay = 1.0f;",
     "train_test_adamw"),
    ("src/train/calibration.c", "the temperature is sought in the wrong direction", "> 0.0) low = middle;", "< 0.0) low = middle;", "train_test_metrics"),
    ("src/train/examples.c", "a set of classes is its first alone", "        bits |= UINT32_C(1) << c;\n", "        if (bits == 0) bits = UINT32_C(1) << c;\n",
     "train_test_examples"),
    ("src/train/examples.c", "excluded texts are learnt from", "    if (match != FINGERPRINT_NEW) return FINCH_OK;\n",
     "", "train_test_examples"),
    ("src/train/journal.c", "events behind the checkpoint stay", "ftruncate(j->descriptor, (off_t)size_bytes) != 0 || ", "", "train_test_checkpoint"),
    ("src/train/kept.c", "the mean of kept weights is their sum", "(float)(sum / (double)n)", "(float)sum", "train_test_loop"),
    ("src/train/loop_state.c", "the moving average is not in the checkpoint", "        if (l->ema != NULL)\n            l->arrays[l->n_arrays++]",
     "        if (false)\n            l->arrays[l->n_arrays++]", "train_test_loop"),
    ("src/train/loop_state.c", "a run with other options is resumed", "if (other != NULL && json_equal(other, value)) continue;", "continue;",
     "train_test_loop"),
    ("src/train/loop.c", "dropout is that of the first step after a resume", "uint64_t dropout_step = l->at.step * l->options->accumulate;",
     "static uint64_t calls;\n    uint64_t dropout_step = calls++ * l->options->accumulate;", "train_test_loop"),
    ("src/train/pretrain.c", "every chosen token is masked", "if (way < 0.8)", "if (way < 1.0)", "train_test_loop"),
    ("src/train/output.c", "a model is written over", "    if (output_exists(o))\n", "    if (false)\n", "train_test_finetune"),
]

DATA = [
    ("src/data/csv_scan.c", "rows with too few fields pass", "s->n_fields != s->dialect->columns.n || s->record_bytes",
     "s->record_bytes", "data_test_table"),
    ("src/data/csv_scan.c", "a quote that never closes passes",
     "    if (s->at == QUOTED || s->at == ESCAPED)\n        return finch_fail_row", "    if (0)\n        return finch_fail_row", "data_test_table"),
    ("src/data/hub_url.c", "another port of the Hub's host sees the token", " && same_part(of_a, of_b, CURLUPART_PORT)", "", "data_test_hub_url"),
    ("src/data/hub_http.c", "the token goes wherever the Hub sends on to", "call->at_hub ? client->token_headers : client->plain_headers",
     "client->token_headers", "hub_test_hostile"),
    ("src/data/hub_url.c", "a file's name may lead out of its folder", "if (i - from == 2 && part[from] == '.'", "if (false && part[from] == '.'",
     "hub_test_hostile"),
    ("src/data/hub_list.c", "a file may lie below a file", "if (order == 0) return true;", "if (order == 0) return false;", "data_test_hub_list"),
    ("src/data/hub_blob.c", "any content is good", "return strcmp(text, hub_file_id(blob->file)) == 0;", "return true;", "data_test_hub_blob"),
    ("src/data/hub_blob.c", "what was reached is forgotten", "    *taken = true;\n    return FINCH_OK;\n}\n\nstatic finch_status begin_digest",
     "    return FINCH_OK;\n}\n\nstatic finch_status begin_digest", "data_test_hub_blob"),
    ("src/data/hub_download.c", "requests that brought bytes count as failures", "    if (s->n_got > 0) part->n_failures = 0;\n", "", "hub_test_fetch"),
    ("src/data/hub_download.c", "any part is taken for the one asked for", "if (first != part->begin + part->done || last >= part->end)", "if (false)",
     "hub_test_hostile"),
    ("src/data/hub_glob.c", "a negated set holds what it names", "return found != negated;", "return found;", "data_test_hub_glob"),
    ("src/data/csv_scan.c", "good rows are not counted", "        s->scan->n_rows++;\n", "", "data_test_table"),
]

MUTANTS = [Mutant(room, *rest) 
           for room, group in (("base", BASE), ("text", TEXT), ("tensor", TENSOR), ("model", MODEL), ("train", TRAIN), ("data", DATA), ("cli", CLI))
           for rest in group]
