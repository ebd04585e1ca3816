import { describe, expect, it } from "vitest";

import { curlOf, pythonOf } from "@/components/analyse/snippets";
import { movedOf, piecesOf } from "@/components/analyse/explanation";
import { ratesOf } from "@/components/system/load-charts";
import { parseMetrics } from "@/components/system/prometheus";
import { routesOf } from "@/components/system/routes";
import type { Prediction } from "@/lib/api/client";
import { classIndex, classes, scoreClass } from "@/lib/classes";
import { csvText, parseCsv } from "@/lib/csv";
import { bytes, duration, localTime, percent, signed, utcTime } from "@/lib/format";
import { number, text } from "@/lib/read";

describe("csv", () => {
  it("reads what it writes", () => {
    const rows = [["a,b", 'say "hi"', "two\nlines"], ["", "x", "\u{1F680} $AAPL"]];
    expect(parseCsv(csvText(["one", "two", "three"], rows))).toEqual([["one", "two", "three"], ...rows]);
  });
  it("gives no formula to a spreadsheet, and leaves numbers alone", () => {
    expect(csvText(["a", "b"], [["=HYPERLINK(1)", -1.5]])).toBe("a,b\r\n'=HYPERLINK(1),-1.5\r\n");
  });
  it("leaves out a last row that may be cut", () => {
    expect(parseCsv("a,b\n1,2\n3,", 10, true)).toEqual([["a", "b"], ["1", "2"]]);
    expect(parseCsv("a;b\r\n1;2", 10, false, ";")).toEqual([["a", "b"], ["1", "2"]]);
    expect(parseCsv("\uFEFFa\n\n1\n", 10)).toEqual([["a"], ["1"]]);
    expect(parseCsv("a\n1\n2\n3\n", 2)).toEqual([["a"], ["1"]]);
  });
});

describe("format", () => {
  it("shows what is missing as a dash", () => {
    for (const show of [bytes, duration, percent, signed]) expect(show(undefined)).toBe("–");
  });
  it("shows sizes, spans, scores", () => {
    expect(bytes(72 * 1024 * 1024)).toBe("72.0 MiB");
    expect(duration(0.25)).toBe("250 ms");
    expect(duration(3720)).toBe("1 h 2 min");
    expect(signed(-0.256)).toBe("−0.26");
    expect(signed(0)).toBe("0.00");
  });
  it("tells times in the viewer's zone, and in UTC", () => {
    expect(utcTime("2026-01-15T23:30:00Z")).toBe("2026-01-15 23:30 UTC");
    expect(localTime("2026-01-15T23:30:00Z", false)).toContain("16");
    expect(localTime("nonsense")).toBe("–");
  });
});

describe("classes", () => {
  it("finds the class whose middle is nearest", () => {
    expect([-1, -0.6, 0.1, 0.3, 1].map(scoreClass)).toEqual([...classes]);
    expect(classIndex("BEARISH")).toBe(-1);
  });
});

describe("reading open values", () => {
  it("never fails on another shape", () => {
    expect(number({ a: [{ b: 2 }] }, "a", 0, "b")).toBe(2);
    expect(number({ a: "2" }, "a")).toBeUndefined();
    expect(text(null, "a", "b")).toBeUndefined();
  });
});

describe("an explanation", () => {
  it("cuts the text by bytes, not by characters", () => {
    const pieces = piecesOf("\u{1F680} up", [{ word: "\u{1F680}", begin: 0, end: 4, weight: 0.5 }, { word: "up", begin: 5, end: 7, weight: -0.1 }]);
    expect(pieces).toEqual([
      { text: "\u{1F680}", weight: 0.5 },
      { text: " ", weight: null },
      { text: "up", weight: -0.1 },
    ]);
  });
  it("keeps the whole text where offsets are wrong", () => {
    expect(piecesOf("abc", [{ word: "x", begin: 1, end: 99, weight: 1 }]).map((p) => p.text).join("")).toBe("abc");
    expect(movedOf({} as Prediction)).toEqual([]);
  });
});

describe("snippets", () => {
  const hostile = `it's "$AAPL" \\ \n \`x\` $(rm)`;
  it("quotes for the shell", () => {
    const curl = curlOf("http://h", hostile, null, true);
    expect(curl).toContain(`'\\''`);
    expect(curl).toContain('"Authorization: Bearer $FINCH_KEY"');
    const quoted = curl.slice(curl.indexOf("-d ") + 3);
    const json = quoted.slice(1, -1).replaceAll(`'\\''`, "'");
    expect(JSON.parse(json)).toEqual({ text: hostile, explain: true });
  });
  it("writes Python literals", () => {
    expect(pythonOf("http://h", hostile, "m@1", false)).toContain(`"text": ${JSON.stringify(hostile)}, "model": "m@1"`);
    expect(pythonOf("http://h", "x", null, false)).not.toContain("os");
  });
});

describe("metrics", () => {
  const page = [
    "# HELP finch_http_requests_total x",
    'finch_http_requests_total{route="predict",status="2xx"} 99',
    'finch_http_requests_total{route="predict",status="4xx"} 1',
    'finch_http_request_seconds_bucket{route="predict",le="0.01"} 98',
    'finch_http_request_seconds_bucket{route="predict",le="0.1"} 100',
    'finch_http_request_seconds_bucket{route="predict",le="+Inf"} 100',
    'finch_http_request_seconds_sum{route="predict"} 0.5',
    'finch_http_request_seconds_count{route="predict"} 100',
    'odd{a="x\\"y"} NaN',
  ].join("\n");
  it("become a table of routes", () => {
    expect(routesOf(page)).toEqual([{ route: "predict", requests: 100, errors: 1, mean: 5, p99: 100 }]);
    expect(parseMetrics(page).has("odd")).toBe(false);
  });
  it("become rates, with a gap where the server began anew", () => {
    const sample = (time: number, total: number) => ({ time, total, texts: 0, waiting: 0, memory: 0 });
    expect(ratesOf([sample(0, 10), sample(2000, 20), sample(4000, 1)], "total")).toEqual([null, 5, null]);
  });
});
