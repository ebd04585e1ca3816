"""Writes the tables of bench/RESULTS.md from bench/results/*.json, and nothing by hand.

    python bench/table.py            renew the tables between the marks
    python bench/table.py --check    exit 1 where the page does not say what the results say
"""
import json
import re
import sys

import benchlib
import gemma_results

PAGE = benchlib.ROOT / "bench" / "RESULTS.md"
NOT_MEASURED = "not measured yet"
SPEED_HEAD = "| work | peer | finch, median | peer, median | ratio: min / median / max | at least | reached |\n|---|---|---|---|---|---|---|\n"


def load(name):
    path = benchlib.RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


LESSER_UNITS = {"-avx512": ", AVX-512 without AMX", "-avx2": ", AVX2 alone"}
SCORE_CASES = ("minilm-int8", "minilm-float", "bert-base-int8", "one-tweet", "memory")


def load_score(suffix=""):
    """The cases of scoring, each in a file of its own so that one can be measured again alone; a suffix of LESSER_UNITS: on such a CPU."""
    cases = {}
    for name in SCORE_CASES:
        found = load(f"score-{name}{suffix}")
        if found is not None:
            cases.update(found["cases"])
    return {"cases": cases}


def dig(document, path):
    for key in path:
        if document is None:
            return None
        document = document.get(key)
    return document


def scaled(value, unit):
    if unit == "MiB":
        return f"{value / 2**20:,.0f} MiB"
    if unit == "us":
        return f"{value * 1e6:.1f} us"
    return f"{value:.2f} ms" if unit == "ms" else f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def row(work, peer, found, unit, goal):
    if found is None or "ratio" not in found:
        return f"| {work} | {peer} | {NOT_MEASURED} | | | {goal:g}x | |\n"
    ratio = found["ratio"]
    return (f"| {work} | {peer} | {scaled(found['finch']['median'], unit)} | {scaled(found['peer']['median'], unit)} | "
            f"{ratio['min']:.2f} / **{ratio['median']:.2f}** / {ratio['max']:.2f} | {goal:g}x | {'yes' if found['reached'] else 'no'} |\n")


def measured(rows):
    return "".join(line for line in rows.splitlines(keepends=True) if NOT_MEASURED not in line)


def scoring_rows(cases, where):
    text = row(f"MiniLM int8, bulk{where}", "ONNX Runtime int8", dig(cases, ["minilm-int8", "onnxruntime"]), "tweets/s", 2)
    for peer, name, goal in (("onnxruntime", "ONNX Runtime f32", 1.8), ("pytorch", "PyTorch f32, as installed", 3)):
        for compute in ("f32", "bf16x3", "bf16"):
            text += row(f"MiniLM {compute}, bulk{where}", name, dig(cases, ["minilm-float", peer, compute]), "tweets/s", goal)
    text += row(f"bert-base int8, bulk{where}", "ONNX Runtime int8", dig(cases, ["bert-base-int8", "onnxruntime"]), "tweets/s", 1.6)
    text += row(f"one tweet, p50, MiniLM int8{where}", "ONNX Runtime int8", dig(cases, ["one-tweet", "onnxruntime"]), "ms", 1.5)
    return text + row(f"peak memory, bulk MiniLM int8{where}", "ONNX Runtime int8", dig(cases, ["memory", "onnxruntime"]), "MiB", 2)


def speed():
    score, train, wordpiece = load_score(), load("train"), load("wordpiece")
    cases = dig(score, ["cases"])
    text = SPEED_HEAD
    text += scoring_rows(cases, "")
    for suffix, words in LESSER_UNITS.items():
        text += measured(scoring_rows(load_score(suffix)["cases"], words))
    for compute in ("f32", "bf16x3", "bf16"):
        if compute == "bf16x3" and dig(train, ["pytorch", compute]) is None:
            continue  # measured only where the CPU has AMX
        text += row(f"fine-tuning MiniLM, {compute}", "PyTorch f32", dig(train, ["pytorch", compute, "examples_per_second"]), "examples/s", 4)
        text += row(f"its peak memory, {compute}", "PyTorch f32", dig(train, ["pytorch", compute, "peak_rss_bytes"]), "MiB", 2)
    fetch = dig(load("fetch"), ["cases"])
    text += row("fetching 400 small files, loopback", "huggingface_hub", dig(fetch, ["small"]), "files/s", 1)
    text += row("fetching one of 256 MiB, loopback", "huggingface_hub", dig(fetch, ["big"]), "MB/s", 1)
    text += row("WordPiece, one thread", "HF tokenizers `encode_batch`", dig(wordpiece, ["tokenizers"]), "tweets/s", 10)
    text += row("Gemma's BPE, one thread", "HF tokenizers `encode_batch`", dig(load("spm"), ["tokenizers"]), "tweets/s", 10)
    text += row("labelling, provider 300 ms away, 32 in flight", "requests in 32 threads, one tweet a prompt", dig(load("label-speed"), ["speed", "rows"]),
                "tweets/s", 3)
    text += row("cleaning tweets, one thread", "html, ftfy and re in Python", dig(load("clean"), ["html, ftfy and re"]), "tweets/s", 10)
    for engine, name in (("polars", "Polars lazy, streaming"), ("duckdb", "DuckDB SQL, order kept"), ("duckdb-distinct", "DuckDB SQL, `DISTINCT ON`, no order")):
        found = load(f"prepare-{engine}")
        text += row("1.7M raw tweets, CSV to clean Parquet", name, dig(found, [engine, "seconds"]), "s", 1)
        text += row("its peak memory", name, dig(found, [engine, "peak_rss_bytes"]), "MiB", 2)
    text += row("near-duplicate clusters, a row", "datasketch MinHashLSH", dig(load("near"), ["datasketch"]), "us", 20)
    text += row("scoring Parquet to Parquet", "finch from memory", dig(load("score-files"), ["memory"]), "tweets/s", 0.95)
    for compute in ("f32", "bf16x3", "int8"):
        text += row(f"Python's pipeline, MiniLM {compute}", "transformers' pipeline, f32", dig(load("python"), ["transformers", compute, "speed"]), "tweets/s", 3)
    for case, work, asked in (("full", "fine-tuning, 2 processes", 0.9), ("adapters", "LoRA, 2 processes", 0.9)):
        text += row(f"{work} of one thread, MiniLM", "one process of two threads", dig(load("mpi"), [case]), "examples/s", asked)
    text += row("scoring in 2 shards of one thread", "one process of two threads", dig(load("mpi"), ["score"]), "tweets/s", 0.95)
    peer = "FastAPI, 2 uvicorn workers, ONNX Runtime int8"
    text += row("POST /predict, 32 connections", peer, dig(load("serve-load"), ["cases", "load", "rate"]), "requests/s", 5)
    text += row("its p99", peer, dig(load("serve-load"), ["cases", "load", "p99"]), "ms", 1)
    return text + row("POST /predict, one connection, p50", peer, dig(load("serve-one"), ["cases", "one", "p50"]), "ms", 2)


def beside():
    """What is printed beside the peers, and which modes count as finch's best float mode."""
    lines = []
    score, train, wordpiece = load_score(), load("train"), load("wordpiece")
    for compute, found in (dig(score, ["cases", "minilm-float", "fits"]) or {}).items():
        if compute != "f32":
            lines.append(f"- {compute} beside f32 on {found['rows']:,} tweets: logits within {found['max_abs_logit']:.2g}, {100 * found['labels_agree']:.2f} % of "
                         f"labels agree: {'within' if found['fits'] else 'not within'} the 1e-2 and 99.9 % asked of a float mode.")
    if lines:
        lines.append(f"- So finch's best float mode here is {score['cases']['minilm-float']['best_mode']}.")
    for name, found in (dig(score, ["cases", "minilm-float", "beside"]) or {}).items():
        said = f"{found['texts_per_second']:,.0f} tweets/s at batch {found['batch']}" if "failed" not in found else "did not run"
        lines.append(f"- PyTorch with better settings ({name}): {said}.")
    for name, found in (dig(train, ["beside"]) or {}).items():
        lines.append(f"- {name}: {found['examples_per_second']:,.1f} examples/s of fine-tuning.")
    for name, ways in (dig(load("clean"), ["finch-mini-5"]) or {}).items():
        said = ", ".join(f"{way} {scores['accuracy']:.4f} / {scores['macro_f1']:.4f}" for way, scores in ways.items())
        lines.append(f"- finch-mini-5 on {name}/valid.csv, accuracy / macro F1, links and names: {said}.")
    fast = dig(wordpiece, ["beside", "encode_batch_fast"])
    if fast:
        lines.append(f"- HF tokenizers `encode_batch_fast` (no offsets): {fast['median']:,.0f} tweets/s.")
    lines += near_duplicates() + labelling() + serving() + growth() + streams() + replicas() + gemma() + adapters()
    return "\n".join(lines) + "\n" if lines else NOT_MEASURED + "\n"


def near_duplicates():
    found, planted = load("near"), dig(load("near"), ["planted"])
    if planted is None:
        return []
    low, high = planted["similarity"]
    return [f"- near-duplicates among {found['rows']:,} rows: {100 * planted['recall']:.1f} % of {planted['pairs_to_find']:,} planted pairs of Jaccard similarity {low:.2f} to "
            f"{high:.2f} found (asked: {100 * planted['goal']:.0f} %), {planted['joined_below']} of {planted['pairs_below']:,} below it joined, "
            f"{found['peak_rss_bytes'] / 2**20:,.0f} MiB at most; datasketch had {found['sample']:,} of the rows."]


def labelling():
    speed_run, fleet_run = load("label-speed"), load("label-fleet")
    lines, speed_of, queued, fleet = [], dig(speed_run, ["speed"]), dig(load("label-memory"), ["memory"]), dig(fleet_run, ["fleet"])
    if speed_of:
        share, batched, lost = speed_of["of_ideal"], speed_of["batched"]["ratio"], speed_of.get("lost")
        before = "; the CPU before the machine's other work" if speed_run.get("realtime") else ""
        lines.append(f"- labelling {speed_of['tweets']:,} tweets, {speed_of['batch']} a request: {100 * share['median']:.0f} % of the ideal time of "
                     f"{speed_of['ideal_seconds']:.1f} s (asked: {100 * share['at_least']:.0f} %{before}), {speed_of['cpu_ms_a_tweet']['finch']:.2f} ms of CPU a tweet "
                     f"(asked: under {speed_of['cpu_ms_a_tweet']['at_most']:g} ms); {batched['median']:.2f} times the tweets/s of the same threads where their "
                     "script batches too: both wait for the provider.")
        if lost:
            lines.append(f"- of the time beyond the ideal {lost['before_first']['median']:.2f} s went before the first request, {lost['standin']['median']:.2f} s in the "
                         f"stand-in, {lost['after_last']['median']:.2f} s after the last answer.")
    if fleet:
        seconds = ", ".join(f"{one:.1f}" for one in fleet["take_over_seconds"])
        lines.append(f"- 4 labelling processes on one PostgreSQL: {100 * fleet['share']['median']:.1f} % of 4 times one's tweets/s (asked: "
                     f"{100 * fleet['at_least']:.0f} %); what two killed ones had leased for {fleet['lease_seconds']} s was asked by others after {seconds} s.")
    if queued:
        lines.append(f"- labelling with {queued['queued']:,} tweets queued: {max(queued['peak_mib'].values()):.0f} MiB at most (asked: under {queued['at_most']} MiB).")
    return lines


def serving():
    lines, health, history = [], dig(load("serve-one"), ["cases", "health"]), load("history")
    if health:
        lines.append(f"- /health, one HTTP thread, 32 connections: {health['requests_per_second']['median']:,.0f} requests/s (asked: {health['goal']:,}).")
    soak = load("soak")
    if soak:
        lines.append(f"- {soak['seconds'] / 60:.0f} minutes at 80 % of capacity: {soak['requests']:,} requests at {soak['asked_a_second']:,.0f} a second, {soak['errors']} errors, "
                     f"p99 {soak['p99_ms']:.0f} ms (asked: under {soak['goals']['p99_ms']}), memory in the end {soak['memory']:.4f} times what it was after warming up (asked: {soak['goals']['memory']:g}).")
    for case in (history or {}).get("cases", []):
        others = ", ".join(f"{name} asked directly {found['median']:.1f} ms" for name, found in case["ms"].items() if name != "finch")
        lines.append(f"- sentiment over HTTP out of {history['rows']:,} predictions, {case['question']}: {case['ms']['finch']['median']:.1f} ms, "
                     f"at most {case['ms']['finch']['max']:.1f} (asked: under {history['goal_ms']:g}); {others}.")
    return lines


def growth():
    found = load("growth")
    if found is None:
        return []
    lines = []
    for step in found["steps"]:
        times = "; ".join(f"{name} {case['ms']['median']:.1f} ms" for name, case in step["cases"].items())
        lines.append(f"- {found['what']}, {step['rows']:,} predictions: {step['rows_a_second']:,.0f} rows/s in, {step['bytes_a_row']:.0f} bytes a row; {times}.")
    plan = found["plan"]
    lines.append(f"- drawn on from there, not measured: {plan['rows']:,} predictions take {plan['gigabytes']:.0f} GB and {plan['hours_to_insert']:.1f} hours to bring in; "
                 + "; ".join(f"{name} {ms:.1f} ms" for name, ms in plan["ms"].items()) + ".")
    return lines


def streams():
    """Rates as shares of finch score's; latencies at half load. The broker shares the cores with finch."""
    lines = []
    for kind, found in (dig(load("stream"), ["brokers"]) or {}).items():
        lines.append(f"- finch stream through {kind}: {100 * found['ratio']['median']:.0f} % of finch score's tweets/s (asked: 90 %, of NATS), p99 at half load "
                     f"{found['half_load']['p99_ms']:.0f} ms (asked: under 250).")
    return lines


def replicas():
    found = load("simulate")
    if found is None:
        return []
    lines = [f"- simulated replicas of one core, {found['service']['texts_per_second_a_core']:,.0f} tweets/s each: " + "; ".join(
        f"{plan['requests_per_second']:,.0f} requests/s in bursts of {found['assumed']['burst']:g} times need {plan['replicas_of_one_core']} for a p99 of "
        f"{plan['p99_ms']:.0f} ms" for plan in found["plan"]) + "."]
    for run in found["validation"]:
        lines.append(f"- the simulator beside two real processes at {100 * run['share_of_capacity']:.0f} % of capacity, bursts {run['burst']:g}: p50 "
                     f"{run['simulated']['p50_ms']:.1f} ms for {run['measured']['p50_ms']:.1f} measured, p99 {run['simulated']['p99_ms']:.1f} for {run['measured']['p99_ms']:.1f}.")
    return lines


def gemma():
    lines = []
    for case, asked, said in (("prompt-128", 1.5, "a prompt of 128 tokens"), ("prompt-512", 1.5, "a prompt of 512 tokens"),
                              ("prefix", 4, "tweets behind a shared prompt, one at a time there")):
        ratio = dig(load(f"gemma-{case}"), ["speed_ratio"])
        if ratio:
            lines.append(f"- Gemma 3 270M in Q8_0 beside llama.cpp, {said}: {ratio['min']:.2f} / **{ratio['median']:.2f}** / {ratio['max']:.2f} times as fast "
                         f"(asked: {asked:g}).")
    if "amx_int8" in (dig(load("gemma-prompt-128"), ["environment", "cpu", "features"]) or []):
        lines.append("- llama.cpp is built without its AMX kernels there (bench/peers/make_llama.sh): gcc 12 makes code of them that dies. With them it would be nearer.")
    kept = dig(load("gemma-prefix"), ["speed_ratio_prefix_kept"])
    if kept:
        lines.append(f"- the same with the prompt's beginning kept in llama.cpp's cache: {kept['min']:.2f} / **{kept['median']:.2f}** / {kept['max']:.2f} times as fast.")
    for case, said in (("one", "one prompt"), ("many", "eight prompts together, one after the other there")):
        found = dig(load("generate"), [case])
        if found:
            ratio = found["ratio"]
            lines.append(f"- greedy answers of Gemma 3 270M beside llama.cpp, {said}: {ratio['min']:.2f} / **{ratio['median']:.2f}** / {ratio['max']:.2f} times "
                         f"the tokens/s (asked: {found['goal']:g}).")
    large = load("gemma-12b")
    if large:
        lines += [f"- a synthetic 12B in int8, {said}: {large['tokens_per_second'][name]:.1f} tokens/s, at most {large['peak_rss_bytes'][name] / 2**30:.1f} GiB "
                  f"(asked: {large['peak_most_bytes'][name] / 2**30:.0f})." for name, said in (("score", "scoring"), ("train", "LoRA steps of 1 x 64 tokens"))]
    return lines


def adapters():
    lines = []
    for case, found in (dig(load("lora"), ["cases"]) or {}).items():
        for kind, against in found["against"].items():
            speed_of, memory = against["best"]["speed"], against["best"]["memory"]
            what, peer = (f"LoRA on {case}", "PEFT") if "asked_speed" in against else ("all weights of gemma", "PyTorch")
            asked = [f" (asked: {against[name]:g})" if name in against else "" for name in ("asked_speed", "asked_memory")]
            lines.append(f"- {what} ({found['finch_best']}) beside {peer} in {kind}: {speed_of['min']:.2f} / **{speed_of['median']:.2f}** / {speed_of['max']:.2f} "
                         f"times the examples/s{asked[0]}, its peak memory {memory['median']:.2f} times ours{asked[1]}.")
    return lines


QUALITY = (("macro_f1", "macro F1"), ("accuracy", "accuracy"), ("weighted_f1", "weighted F1"), ("kappa", "kappa"), ("mcc", "MCC"), ("log_loss", "log loss"))


def quality_of_finch():
    found = load("quality")
    if found is None:
        return ""
    text = ("\nfinch's recipe (`tools/make_model.sh`) on the same rows, as trained and as it ships; the last column is on `data/tfns/valid.csv`, classes "
            "collapsed to three, beside FinGPT's published 0.894:\n\n"
            "| model | weights | " + " | ".join(label for _, label in QUALITY) + " | TFNS weighted F1 |\n|" + "---|" * (len(QUALITY) + 3) + "\n")
    mean = {kind: {key: figure["mean"] for key, figure in figures.items()} for kind, figures in found["summary"].items()}
    for run in [*found["seeds"], {"model": "mean", **mean}]:
        for kind in ("f32", "int8"):
            text += f"| {run['model']} | {kind} | " + " | ".join(f"{run[kind][key]:.4f}" for key, _ in QUALITY)
            text += f" | {run['three_classes_int8']['weighted_f1']:.4f} |\n" if kind == "int8" else " | |\n"
    return text


def rate(run):
    return "not timed" if run["examples_per_second"] is None else f"{run['examples_per_second']:.1f}"


def quality():
    found = load("baseline_trainer")
    if found is None:
        return NOT_MEASURED + "\n"
    names = QUALITY
    text = "| seed | " + " | ".join(label for _, label in names) + " | examples/s |\n|" + "---|" * (len(names) + 2) + "\n"
    for run in [*found["seeds"], {"seed": "mean", **found["mean"]}]:
        text += f"| {run['seed']} | " + " | ".join(f"{run[key]:.4f}" for key, _ in names) + f" | {rate(run)} |\n"
    return text + f"\n{found['recipe']['epochs']} epochs, {found['recipe']['train_rows']:,} training rows, {found['recipe']['valid_rows']:,} validation rows.\n" + quality_of_finch() + gemma_quality()


def gemma_quality():
    text = gemma_results.table_text()
    return f"\nGemma 3 270M beside MiniLM (`python bench/gemma_results.py --table`):\n\n{text}" if text else ""


def products():
    found = load("gemm")
    if found is None:
        return NOT_MEASURED + "\n"
    text = "| units | type | shape (m x n x k) | G op/s, median | share of these units' peak: min / median / max |\n|---|---|---|---|---|\n"
    for units, runs_of in found["units"].items():
        for at, product in enumerate(runs_of[-1]["products"]):
            if units == "amx" and product["compute"] == "f32":
                continue  # tiles have no f32: these rows are those of avx512
            share = benchlib.spread([run["products"][at]["share_of_peak"] for run in runs_of])
            rate = benchlib.spread([run["products"][at]["gops"] for run in runs_of])
            text += (f"| {units} | {product['compute']} | {product['m']} x {product['n']} x {product['k']} | {rate['median']:,.0f} | "
                     f"{100 * share['min']:.0f} / **{100 * share['median']:.0f}** / {100 * share['max']:.0f} % |\n")
    return text


def runs():
    text = "| result | command | date | CPU | threads | commit |\n|---|---|---|---|---|---|\n"
    for name in (*(f"score-{case}{where}" for where in ("", *LESSER_UNITS) for case in SCORE_CASES), "train", "wordpiece", "spm", "label-speed", "label-memory", "label-fleet", "clean", "fetch", "gemm", "prepare-polars", "prepare-duckdb", "prepare-duckdb-distinct",
                 "near", "score-files", "serve-load", "serve-one", "soak", "history", "growth", "python", "stream", "mpi", "simulate", "gemma-prompt-128", "gemma-prompt-512", "gemma-prefix", "lora", "baseline_trainer", "quality",
                 *(name for name in ("generate", "gemma-12b") if load(name))):
        found = load(name)
        if found is None:
            text += f"| {name} | | {NOT_MEASURED} | | | |\n"
            continue
        where = found["environment"]
        command = where["command"] if isinstance(where["command"], str) else "; ".join(where["command"])
        cpu = f"{where['cpu']['name']} {where['cpu']['family_model']} ({', '.join(where['cpu']['features'])})"
        text += f"| {name} | `{command}` | {where['date']} | {cpu} | {where['threads']} | {where['commit']} |\n"
    return text


def renew(page):
    for name, make in (("speed", speed), ("beside", beside), ("products", products), ("quality", quality), ("runs", runs)):
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not mark.search(page):
            raise SystemExit(f"{PAGE}: the mark <!-- {name} --> is missing")
        page = mark.sub(lambda found, make=make: found.group(1) + make() + found.group(2), page)
    return page


def main():
    old = PAGE.read_text(encoding="utf-8")
    new = renew(old)
    if sys.argv[1:] == ["--check"]:
        if new != old:
            benchlib.note(f"{PAGE} does not say what bench/results/*.json say; run: python bench/table.py")
        return int(new != old)
    if sys.argv[1:]:
        benchlib.note(__doc__)
        return 2
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
