"""The steps of bench/prepare.py in Polars (lazy, streaming) or DuckDB SQL: one run a process, one JSON line.

read CSV -> NFC, the HTML entities that tweets have, mojibake of the usual marks, retweet mark, links and user names to tokens,
white space -> cashtags -> first of equal texts, in order -> Parquet (zstd).
"""
import argparse
import json
import resource
import time

ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&nbsp;": " ", "&amp;": "&"}
MOJIBAKE = {"â€™": "’", "â€˜": "‘", "â€œ": "“", "â€“": "–", "â€”": "—", "â€¦": "…", "Ã©": "é"}
RETWEET = r"^\s*RT @\w+:?\s*"
LINK = r"(?:https?://|www\.)\S+"
USER = r"(^|[^A-Za-z0-9_@])@[A-Za-z0-9_]+"
CASHTAG = r"\$[A-Za-z]{1,6}(?:[.-][A-Za-z]{1,2})?\b"


LEVEL = 1  # of zstd: what finch packs its tables with


def polars_run(source, target):
    import polars
    text = (polars.col("body")
            .str.replace_many(list(ENTITIES), list(ENTITIES.values()))
            .str.replace_many(list(MOJIBAKE), list(MOJIBAKE.values()))
            .str.normalize("NFC")
            .str.replace(RETWEET, "")
            .str.replace_all(LINK, "http")
            .str.replace_all(USER, "${1}@user")
            .str.replace_all(r"\s+", " ")
            .str.strip_chars())
    frame = (polars.scan_csv(source, infer_schema_length=10000)
             .with_columns(text.alias("text"))
             .with_columns(polars.col("text").str.extract_all(CASHTAG).list.eval(polars.element().str.strip_prefix("$").str.to_uppercase())
                           .list.unique(maintain_order=True).alias("tickers"))
             .unique(subset="text", keep="first", maintain_order=True))
    frame.sink_parquet(target, compression="zstd", compression_level=LEVEL, engine="streaming")


def duckdb_text():
    """The clean text as SQL."""
    text = "body"
    for old, new in {**ENTITIES, **MOJIBAKE}.items():
        text = f"replace({text}, '{old.replace(chr(39), chr(39) * 2)}', '{new.replace(chr(39), chr(39) * 2)}')"
    text = f"nfc_normalize({text})"
    for old, new, flags in ((RETWEET, "", ""), (LINK, "http", "g"), (USER, r"\1@user", "g"), (r"\s+", " ", "g")):
        text = f"regexp_replace({text}, '{old}', '{new}', '{flags}')"
    return f"trim({text})"


TICKERS = f"list_distinct(list_transform(regexp_extract_all(text, '{CASHTAG}'), lambda x: upper(x[2:]))) AS tickers"


def in_order(source):
    """The first of equal texts by a window, in the order of the file."""
    return f"""SELECT * EXCLUDE (number, place), {TICKERS}
               FROM (SELECT *, row_number() OVER (PARTITION BY text ORDER BY number) AS place
                     FROM (SELECT *, row_number() OVER () AS number, {duckdb_text()} AS text FROM read_csv('{source}')))
               WHERE place = 1 ORDER BY number"""


def any_order(source):
    """The same with an aggregate in place of the window, and the order lost: which is faster depends on the version."""
    return f"SELECT DISTINCT ON (text) *, {TICKERS} FROM (SELECT *, {duckdb_text()} AS text FROM read_csv('{source}'))"


QUERIES = {"duckdb": in_order, "duckdb-distinct": any_order}


def duckdb_run(query, target, threads, memory):
    import duckdb
    link = duckdb.connect(config={"threads": threads, **({"memory_limit": memory} if memory else {})})
    link.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {LEVEL})")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--engine", choices=("polars", *QUERIES), required=True)
    options.add_argument("--input", required=True)
    options.add_argument("--output", required=True)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--memory", default=None, help="DuckDB's memory_limit")
    chosen = options.parse_args()
    if chosen.engine == "polars":
        import polars  # noqa: F401  the import is not measured
    else:
        import duckdb  # noqa: F401
    begin = time.perf_counter()
    if chosen.engine == "polars":
        polars_run(chosen.input, chosen.output)
    else:
        duckdb_run(QUERIES[chosen.engine](chosen.input), chosen.output, chosen.threads, chosen.memory)
    seconds = time.perf_counter() - begin
    import pyarrow.parquet as parquet
    print(json.dumps({"seconds": seconds, "rows": parquet.read_metadata(chosen.output).num_rows,
                      "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
