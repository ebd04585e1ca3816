"""How the history grows: rows a second in, bytes a row, and the questions' times as the rows become ten times as many.

    python bench/growth.py [--state postgres|sqlite] [--sizes 1000000 10000000] [--plan 100000000] [--rounds 7] [--save FILE]

Predictions come at a steady rate in the order of time, as they do in life, until each of the sizes; `finch history import` brings them in, and then
`finch serve` is asked. PostgreSQL is a server of the bench's own whose commits wait for the disk (shared_buffers 512 MB, else as it comes), with the history in parts by
month. The spans are the same at every size: the last 90 days, 30 days, and what ends within an hour; "all of it" grows with the rows.

rows_a_second  of each step, the whole command
bytes_a_row    on the disk, indexes and sums with it, of all rows so far
ms, cpu_ms     of a question: the median of the rounds over HTTP; the server's CPU alone, without PostgreSQL's
slope          of a question: its time at the last size by its time at the first, for each tenfold of rows; 1: it does not grow
plan           for --plan rows: their bytes and hours at the last step's rate, and each question's time along its slope. A line drawn on, no measurement
"""
import math
import pathlib
import shutil
import tempfile

import benchlib
import history
from postgres import Postgres

TABLE_ROWS = 500_000  # that one import takes
SETTINGS = "shared_buffers = '512MB'\nmax_wal_size = '4GB'"


class PostgresState:
    def __init__(self, _folder):
        self.server = Postgres(durable=True, settings=SETTINGS)
        self.url = self.server.url("growth")

    def settle(self):
        """As autovacuum does in its time."""
        self.server.query("growth", "VACUUM ANALYZE", timeout_s=1800)

    def size_bytes(self):
        return int(self.server.query("growth", "SELECT pg_database_size('growth')")[0][0])

    def parts(self):
        return int(self.server.query("growth", "SELECT count(*) FROM history_part")[0][0])

    def close(self):
        self.server.close()


class SqliteState:
    def __init__(self, folder):
        self.folder, self.url = folder, f"{folder}/s.sqlite"

    def settle(self):
        pass

    def size_bytes(self):
        return sum(path.stat().st_size for path in pathlib.Path(self.folder).glob("s.sqlite*"))

    def parts(self):
        return 1

    def close(self):
        pass


def questions(end):
    """Name, ticker, bucket, from and to in seconds. A third of a day into the last one the span ends within an hour."""
    day, cut = 86400, end - 86400 * 2 // 3 + 1717
    return (("market by hour, the last 90 days", None, "1h", end - 90 * day, end), ("one ticker by hour, the last 30 days", "T3", "1h", end - 30 * day, end),
            ("one ticker by day, all of it", "T3", "1d", history.BEGIN, end), ("market by day, all of it", None, "1d", history.BEGIN, end),
            ("market by day, 30 days that end within an hour", None, "1d", cut - 30 * day, cut))


def grow(finch, folder, rows_from, rows_to, rows_a_day):
    """Rows a second, over the whole step."""
    seconds, at = 0.0, rows_from
    while at < rows_to:
        n = min(rows_to - at, TABLE_ROWS)
        source = f"{folder}/step.parquet"
        history.make_rows(source, n, at, history.BEGIN + int(at / rows_a_day * 86400), max(int(n / rows_a_day * 86400), 1), ordered=True)
        seconds += n / finch.take(source)
        at += n
    return (rows_to - rows_from) / seconds


def ask(finch, end, rounds):
    cases = {}
    for name, ticker, bucket, first, last in questions(end):
        finch.ask(ticker, bucket, first, last)
        before = finch.cpu_ms()
        times = [finch.ask(ticker, bucket, first, last)[0] for _ in range(rounds)]
        cases[name] = {"ms": benchlib.spread(times), "cpu_ms": (finch.cpu_ms() - before) / rounds}
    finch.get("/api/v1/predictions?ticker=T3&from=2001-01-01&limit=50")
    times = [finch.get("/api/v1/predictions?ticker=T3&from=2001-01-01&limit=50")[1] for _ in range(rounds)]
    cases["the newest 50 rows of one ticker"] = {"ms": benchlib.spread(times)}
    return cases


def slopes(steps):
    tenfolds = math.log10(steps[-1]["rows"] / steps[0]["rows"])
    return {name: (case["ms"]["median"] / steps[0]["cases"][name]["ms"]["median"]) ** (1 / tenfolds) for name, case in steps[-1]["cases"].items()}


def plan(steps, slope, rows):
    last = steps[-1]
    tenfolds = math.log10(rows / last["rows"])
    return {"rows": rows, "gigabytes": rows * last["bytes_a_row"] / 1e9, "hours_to_insert": rows / last["rows_a_second"] / 3600,
            "ms": {name: case["ms"]["median"] * slope[name] ** tenfolds for name, case in last["cases"].items()}}


def measure(finch, state, folder, options):
    steps, rows_a_day = [], max(options.sizes) / (history.SPAN / 86400)
    for before, rows in zip([0, *options.sizes], options.sizes):
        step = {"rows": rows, "rows_a_second": grow(finch, folder, before, rows, rows_a_day)}
        state.settle()
        finch.serve()
        step |= {"bytes_a_row": state.size_bytes() / rows, "parts": state.parts(), "cases": ask(finch, history.BEGIN + int(rows / rows_a_day * 86400), options.rounds)}
        finch.close()
        benchlib.note(f"{rows:,} rows: {step['rows_a_second']:,.0f} a second in, {step['bytes_a_row']:.0f} bytes a row, {step['parts']} parts; "
                      + ", ".join(f"{name} {case['ms']['median']:.1f} ms" for name, case in step["cases"].items()))
        steps.append(step)
    return steps


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--state", default="postgres", choices=["postgres", "sqlite"])
    options.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000])
    options.add_argument("--plan", type=int, default=100_000_000)
    options.add_argument("--rounds", type=int, default=7)
    options = options.parse_args()
    if len(options.sizes) < 2 or options.sizes != sorted(set(options.sizes)) or options.sizes[0] < 1000:
        raise SystemExit("--sizes: two or more, from 1,000 up, in order")
    folder = tempfile.mkdtemp(prefix="finch-bench-growth-")
    state = {"postgres": PostgresState, "sqlite": SqliteState}[options.state](folder)
    finch = history.Finch(state.url)
    try:
        steps = measure(finch, state, folder, options)
        slope = slopes(steps)
        benchlib.emit({"what": f"the history's growth in {options.state}", "environment": benchlib.environment(options.threads), "steps": steps, "slope": slope,
                       "plan": plan(steps, slope, options.plan)}, options.save)
    finally:
        finch.close()
        state.close()
        shutil.rmtree(folder, True)


if __name__ == "__main__":
    main()
