import { describe, expect, it } from "vitest";

import { rateOf } from "@/components/labels/jobs";
import { disagreementsOf, reliabilityOf } from "@/components/models/compare";
import { isShown, tailOf } from "@/components/system/log-tail";

describe("reliability", () => {
  it("reads the points of an evaluation and passes over what is none", () => {
    const point = { confidence: 0.55, accuracy: 0.5, n: 12 };
    expect(reliabilityOf({ reliability: [point, { confidence: null, accuracy: 1, n: 1 }, 7] })).toEqual([point]);
    expect(reliabilityOf({ macro_f1: 0.7 })).toEqual([]);
    expect(reliabilityOf(null)).toEqual([]);
  });
});

describe("disagreements", () => {
  it("joins samples by text, the widest apart first", () => {
    const one = [{ text: "a", label: "POSITIVE", truth: "NEUTRAL" }, { body: "b", label: "STRONGLY_NEGATIVE" }, { text: "c", label: "NEUTRAL" }, { text: "only here", label: "NEUTRAL" }];
    const other = [{ text: "c", label: "NEUTRAL" }, { text: "b", label: "STRONGLY_POSITIVE" }, { text: "a", label: "NEUTRAL" }, { text: "no label" }];
    expect(disagreementsOf([one, other])).toEqual({
      shared: 3,
      rows: [
        { text: "b", truth: undefined, labels: ["STRONGLY_NEGATIVE", "STRONGLY_POSITIVE"] },
        { text: "a", truth: "NEUTRAL", labels: ["POSITIVE", "NEUTRAL"] },
      ],
    });
  });
  it("counts a text that two of three models have, and shows the third as absent", () => {
    expect(disagreementsOf([[{ text: "a", label: "POSITIVE" }], [], [{ text: "a", label: "NEGATIVE" }]]).rows).toEqual([{ text: "a", truth: undefined, labels: ["POSITIVE", undefined, "NEGATIVE"] }]);
  });
});

describe("the rate of a job", () => {
  it("is of the span that is known, and none without one", () => {
    expect(rateOf([{ time: 0, settled: 10 }, { time: 2000, settled: 20 }, { time: 4000, settled: 50 }])).toBe(10);
    expect(rateOf([{ time: 0, settled: 10 }])).toBeNull();
    expect(rateOf([{ time: 0, settled: 10 }, { time: 1000, settled: 5 }])).toBeNull();
    expect(rateOf([])).toBeNull();
  });
});

describe("the log's tail", () => {
  const old = { last: 2, lines: [{ at: 1, line: "a" }, { at: 2, line: "b" }] };
  it("goes on behind what is known", () => {
    expect(tailOf(old, ["c"], 3)).toEqual({ last: 3, lines: [...old.lines, { at: 3, line: "c" }] });
  });
  it("begins anew with a server that began anew", () => {
    expect(tailOf(old, ["x"], 1)).toEqual({ last: 1, lines: [{ at: 1, line: "x" }] });
  });
  it("keeps a thousand lines", () => {
    const { lines } = tailOf(old, Array.from({ length: 1200 }, (_, i) => i), 1202);
    expect([lines.length, lines[0]?.at, lines[999]?.at]).toEqual([1000, 203, 1202]);
  });
  it("leaves out the dashboard's own requests unless asked, and all but failures where asked", () => {
    const own = { route: "system", status: 200 };
    const file = { route: "none", status: 200 };
    const missing = { route: "none", status: 404 };
    const work = { route: "predict", status: 200 };
    expect([own, file, missing, work].map((l) => isShown(l, false, false))).toEqual([false, false, true, true]);
    expect([own, file, missing, work].map((l) => isShown(l, false, true))).toEqual([true, true, true, true]);
    expect([own, missing, { level: "error", event: "job_failed" }].map((l) => isShown(l, true, false))).toEqual([false, true, true]);
  });
});
