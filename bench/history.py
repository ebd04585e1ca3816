"""Sentiment by ticker and time out of a history of millions of predictions, beside a direct query over the same rows.

    python bench/history.py [--rows 3000000] [--rounds 7] [--peers duckdb postgres] [--save FILE]

The rows lie over three years, 400 tickers, with floods and near-duplicates among them; `finch history import` brings them in. Each
question is asked over HTTP on a kept connection (`finch serve`, GET /api/v1/sentiment), so finch's time has the request, the sums, the
figures of every bucket (mean, 95 % interval, class shares, what was left out) and the JSON. A peer's time is that of its query alone, for counts,
mean, deviation and class shares: DuckDB in this process over a table in its own format, PostgreSQL by its own clock (EXPLAIN ANALYZE) over a table with
an index on ticker and time, both after a first run. The answers' counts must be equal.

ms          of each side, the median of the rounds, in turns
cpu_ms      that the server took for a question, all its threads, the mean of the rounds: holds on a machine that is busy too
goal        under 50 ms for every question
import      predictions a second into the history, the whole command
"""
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import benchlib
import duckdb

sys.path.insert(0, str(benchlib.ROOT / "tests" / "provider"))
from postgres import Postgres  # noqa: E402

BEGIN, SPAN = 1546300800, 3 * 365 * 86400  # 2019-01-01
GOAL_MS = 50
# Name, ticker, bucket, from and to in days. The last span begins and ends within an hour.
QUESTIONS = (("market by day, 3 years", None, "1d", 0, 1095), ("market by hour, 90 days", None, "1h", 300, 390), ("one ticker by day, 3 years", "T3", "1d", 0, 1095),
             ("one ticker by hour, 30 days", "T3", "1h", 500, 530), ("one ticker by week, 3 years", "T120", "1w", 0, 1095),
             ("market by day, from 11:17:23 to 16:05:59", None, "1d", 100.470405, 900.670822))
TRUNCATE = {"1d": "day", "1h": "hour", "1w": "week"}


def make_rows(path, rows, first=0, begin=BEGIN, span=SPAN, ordered=False):
    """So many rows, numbered from first, at random times of the span, ordered by them or not."""
    duckdb.sql("SELECT setseed(0.5)")
    duckdb.sql(f"""COPY (
        SELECT 'tweet ' || (i + {first}) AS body, {begin} + CAST(floor(random() * {span}) AS BIGINT) AS post_date,
            'T' || CAST(floor(400 * random() * random() * random()) AS BIGINT) || CASE WHEN random() < 0.3 THEN '|T' || CAST(400 + floor(50 * random()) AS BIGINT) ELSE '' END AS ticker_symbol,
            ({list(benchlib.LABELS)})[1 + CAST(floor(5 * random()) AS BIGINT)] AS label, round(2 * random() - 1, 6) AS score, CAST(floor(20 * random()) AS BIGINT) AS like_num,
            CASE WHEN random() < 0.1 THEN 'flood' WHEN random() < 0.1 THEN 'near_duplicate' END AS dropped_reason
        FROM range({rows}) t(i) {'ORDER BY post_date' if ordered else ''}) TO '{path}'""")


def query_of(table, ticker, bucket, first, last, postgres):
    """The direct query over one row a ticker, '*' for all texts."""
    start = f"date_trunc('{TRUNCATE[bucket]}', {'to_timestamp(time)' if postgres else 'make_timestamp(time * 1000000)'})"
    shares = ", ".join(f"avg(CASE WHEN label = {i} THEN 1.0 ELSE 0 END)" for i in range(5))
    return (f"SELECT {start} AS start, count(*), avg(score), stddev_samp(score), {shares} FROM {table} WHERE ticker = '{ticker or '*'}' AND time >= {first} AND time < {last} "
            f"AND NOT left_out GROUP BY 1 ORDER BY 1")


def flat_rows(source):
    label = " ".join(f"WHEN '{name}' THEN {i}" for i, name in enumerate(benchlib.LABELS))
    common = f"post_date AS time, CASE label {label} END AS label, score, dropped_reason IS NOT NULL AS left_out FROM '{source}'"
    return f"SELECT '*' AS ticker, {common} UNION ALL SELECT unnest(string_split(ticker_symbol, '|')) AS ticker, {common}"


class DuckPeer:
    def __init__(self, folder, source):
        self.db = duckdb.connect(f"{folder}/peer.duckdb")
        self.db.execute("SET threads = 2")
        self.db.execute(f"CREATE TABLE flat AS {flat_rows(source)} ORDER BY ticker, time")

    def ask(self, ticker, bucket, first, last):
        begin = time.perf_counter()
        rows = self.db.execute(query_of("flat", ticker, bucket, first, last, False)).fetchall()
        return (time.perf_counter() - begin) * 1000, sum(row[1] for row in rows)

    def close(self):
        self.db.close()


class PostgresPeer:
    def __init__(self, folder, source):
        self.server = Postgres()
        self.server.url("peer")
        table = f"{folder}/flat.csv"
        duckdb.sql(f"COPY ({flat_rows(source)}) TO '{table}' (HEADER false)")
        self.server.query("peer", "CREATE TABLE flat (ticker TEXT, time BIGINT, label BIGINT, score DOUBLE PRECISION, left_out BOOLEAN)")
        os.chmod(folder, 0o755)
        with open(table, encoding="utf-8") as file:
            subprocess.run([os.path.join(self.server.bin, "psql"), "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "finch", "-d", "peer", "-q", "-c", "\\copy flat FROM STDIN CSV"],
                           stdin=file, check=True)
        self.server.query("peer", "CREATE INDEX flat_ticker ON flat (ticker, time)")
        subprocess.run([os.path.join(self.server.bin, "psql"), "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "finch", "-d", "peer", "-q", "-c", "VACUUM ANALYZE flat"], check=True)
        os.remove(table)

    def ask(self, ticker, bucket, first, last):
        query = f"SET TIME ZONE 'UTC'; SET jit = off; EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) {query_of('flat', ticker, bucket, first, last, True)}"
        plan = "\n".join(row[0] for row in self.server.query("peer", query))
        return float(re.search(r"Execution Time: ([0-9.]+) ms", plan).group(1)), None

    def close(self):
        self.server.close()


class Finch:
    """finch serve on a store that `take` fills."""

    def __init__(self, state):
        self.program = os.environ.get("FINCH", str(benchlib.ROOT / "build" / "finch"))
        self.env = {**os.environ, "FINCH_STATE": state}
        self.server = None

    def take(self, source):
        """Rows a second into the history, the whole command."""
        begin = time.perf_counter()
        done = subprocess.run([self.program, "history", "import", "--input", source, "--no-texts", "--quiet", "--json"], env=self.env, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)["imported"] / (time.perf_counter() - begin)

    def serve(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.server = subprocess.Popen([self.program, "serve", "--port", str(port)], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(600):
            try:
                self.link.request("GET", "/ready")
                if self.link.getresponse().read() is not None:
                    break
            except OSError:
                self.link.close()
                time.sleep(0.1)
        else:
            raise SystemExit("finch serve did not come up; run it by hand to see why")

    def get(self, path):
        """The answer's body and its milliseconds."""
        begin = time.perf_counter()
        self.link.request("GET", path)
        answer = self.link.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"finch answered {answer.status}: {body[:500]!r}")
        return body, (time.perf_counter() - begin) * 1000

    def ask(self, ticker, bucket, first, last):
        stamp = lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        body, ms = self.get(f"/api/v1/sentiment?from={stamp(first)}&to={stamp(last)}&bucket={bucket}" + (f"&ticker={ticker}" if ticker else ""))
        points = json.loads(body)["data"]
        return ms, sum(point["count"] for point in (points["points"] if isinstance(points, dict) else points))

    def cpu_ms(self):
        """Milliseconds of CPU since the start."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.server.pid}/task").iterdir():
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return total / 1e6

    def close(self):
        if self.server is None:
            return
        self.link.close()
        self.server.terminate()
        self.server.wait()
        self.server = None


def measure(sides, rounds):
    cases = []
    for name, ticker, bucket, first, last in QUESTIONS:
        span = int(BEGIN + first * 86400), int(BEGIN + last * 86400)
        counts = {side: peer.ask(ticker, bucket, *span)[1] for side, peer in sides.items()}
        if len({count for count in counts.values() if count is not None}) != 1:
            raise SystemExit(f"{name}: the sides do not agree: {counts}")
        times, cpu = {side: [] for side in sides}, 0
        for _ in range(rounds):
            for side, peer in sides.items():
                before = sides["finch"].cpu_ms()
                times[side].append(peer.ask(ticker, bucket, *span)[0])
                cpu += sides["finch"].cpu_ms() - before if side == "finch" else 0
        case = {"question": name, "texts": counts["finch"], "cpu_ms": cpu / rounds, "ms": {side: benchlib.spread(values) for side, values in times.items()}}
        case["ratio"] = {side: case["ms"][side]["median"] / case["ms"]["finch"]["median"] for side in sides if side != "finch"}
        case["reached"] = case["ms"]["finch"]["max"] < GOAL_MS
        benchlib.note(f"{name}: " + ", ".join(f"{side} {case['ms'][side]['median']:.2f} ms" for side in sides) + f", finch's CPU {case['cpu_ms']:.2f} ms")
        cases.append(case)
    return cases


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rows", type=int, default=3_000_000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--peers", nargs="*", default=["duckdb", "postgres"], choices=["duckdb", "postgres"])
    options = options.parse_args()
    folder, sides = tempfile.mkdtemp(prefix="finch-bench-history-"), {}
    try:
        source = f"{folder}/rows.parquet"
        make_rows(source, options.rows)
        sides["finch"] = Finch(f"{folder}/s.sqlite")
        imported_a_second = sides["finch"].take(source)
        sides["finch"].serve()
        benchlib.note(f"finch: {imported_a_second:,.0f} predictions a second into the history")
        if "duckdb" in options.peers:
            sides["duckdb"] = DuckPeer(folder, source)
        if "postgres" in options.peers:
            sides["postgres"] = PostgresPeer(folder, source)
        cases = measure(sides, options.rounds)
        benchlib.emit({"what": "sentiment out of the history", "environment": benchlib.environment(options.threads), "rows": options.rows, "goal_ms": GOAL_MS,
                       "imported_a_second": imported_a_second, "cases": cases}, options.save)
    finally:
        for side in sides.values():
            side.close()
        shutil.rmtree(folder, True)


if __name__ == "__main__":
    main()
