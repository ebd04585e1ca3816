// @vitest-environment node

import { describe, expect, it } from "vitest";

import { laggedCorrelation, pearson, pricesOf, type Price } from "@/components/market/correlation";
import { bucketOf, extentOf, spanOf } from "@/components/market/span";
import { curveOf, metricRows, verdictOf } from "@/components/models/compare";
import { readReport } from "@/components/data/data";
import { previewOf, textColumnOf } from "@/components/batches/preview";

describe("lagged correlation", () => {
  it("is one where tomorrow's return is today's score", () => {
    const scores = [0.1, -0.2, 0.3, -0.1, 0.2, 0.05, -0.3, 0.25];
    const sentiment = new Map<string, number>();
    const prices: Price[] = [["2014-01-01", 100]];
    scores.forEach((score, i) => {
      sentiment.set(prices[i]![0], score);
      prices.push([`2014-01-0${i + 2}`, prices[i]![1] * (1 + score / 10)]);
    });
    const found = laggedCorrelation(sentiment, prices);
    expect(found.map((l) => l.lag)).toEqual([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5]);
    expect(found.find((l) => l.lag === 1)?.correlation).toBeCloseTo(1, 9);
    expect(found.find((l) => l.lag === 1)?.n).toBe(8);
  });
  it("is none without spread or with too few", () => {
    expect(pearson([[1, 1], [2, 2]])).toBeNull();
    expect(pearson([[1, 1], [1, 2], [1, 3]])).toBeNull();
  });
  it("takes any CSV with date and close", () => {
    expect(pricesOf([["Date", "Ticker", "Close"], ["2014-01-02", "B", "2"], ["2014-01-01 00:00", "A", "1"], ["x", "A", "3"]], "A")).toEqual([["2014-01-01", 1]]);
    expect(() => pricesOf([["day"]], "A")).toThrow("date and close");
  });
});

describe("the span", () => {
  const extent = extentOf([{ first: "2014-01-01T05:10:00Z", last: "2014-12-31T00:30:00Z" }, { first: null, last: null }]);
  it("ends at the newest text", () => {
    expect(extentOf([])).toBeNull();
    const span = spanOf("1m", extent!);
    expect(span.to).toBe("2014-12-31T01:00:00.000Z");
    expect(span.from).toBe("2014-12-01T01:00:00.000Z");
    expect(spanOf("all", extent!).from).toBe("2014-01-01T05:00:00.000Z");
  });
  it("chooses a bucket", () => {
    expect([7, 90, 700].map((days) => bucketOf("auto", days * 86_400_000))).toEqual(["4h", "1d", "1w"]);
    expect(bucketOf("1h", 1)).toBe("1h");
  });
});

describe("models", () => {
  const model = (low: number, high: number) => ({ intervals: { macro_f1: [low, high], log_loss: [low, high] } });
  const row = (key: string) => metricRows.find((r) => r.key === key)!;
  it("are better or worse only where intervals do not overlap", () => {
    const first = model(0.6, 0.7);
    expect(verdictOf(first, first, row("macro_f1"))).toBe("first");
    expect(verdictOf(model(0.71, 0.8), first, row("macro_f1"))).toBe("better");
    expect(verdictOf(model(0.71, 0.8), first, row("log_loss"))).toBe("worse");
    expect(verdictOf(model(0.65, 0.8), first, row("macro_f1"))).toBe("alike");
    expect(verdictOf({}, first, row("macro_f1"))).toBe("unknown");
  });
  it("have a curve of what has a step", () => {
    expect(curveOf([{ step: 1, loss: 2 }, { nothing: 1 }, "x"])).toEqual([{ step: 1, loss: 2, macro_f1: undefined, log_loss: undefined }]);
    expect(curveOf(null)).toEqual([]);
  });
});

describe("files of people", () => {
  it("reports: only those of finch prepare", () => {
    expect(() => readReport("a", "{")).toThrow("no JSON");
    expect(() => readReport("a", "{}")).toThrow("no report");
    expect(readReport("a", '{"rows":1,"stages":[{"stage":"repair"}]}').content["rows"]).toBe(1);
  });
  it("tables: a preview and the likely column", async () => {
    const csv = await previewOf(new File(["id;note\n1;a long text here\n"], "x.csv"));
    expect(csv).toEqual({ columns: ["id", "note"], rows: [["1", "a long text here"]] });
    expect(textColumnOf(csv!)).toBe("note");
    const jsonl = await previewOf(new File(['{"text":"a","n":1}\n{"text":"b"}\n{"te'], "x.jsonl"));
    expect(jsonl).toEqual({ columns: ["text", "n"], rows: [["a", "1"], ["b", ""]] });
    expect(textColumnOf(jsonl!)).toBe("text");
    expect(await previewOf(new File(["PAR1"], "x.parquet"))).toBeNull();
  });
});
