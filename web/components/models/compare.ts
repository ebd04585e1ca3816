import { classIndex } from "@/lib/classes";
import { at, list, number, text } from "@/lib/read";

/** What is compared, and whether more of it is better. */
export const metricRows = [
  { key: "accuracy", title: "Accuracy", up: true },
  { key: "macro_f1", title: "Macro F1", up: true },
  { key: "weighted_f1", title: "Weighted F1", up: true },
  { key: "macro_precision", title: "Macro precision", up: true },
  { key: "macro_recall", title: "Macro recall", up: true },
  { key: "kappa", title: "Kappa", up: true },
  { key: "mcc", title: "MCC", up: true },
  { key: "roc_auc", title: "ROC AUC", up: true },
  { key: "log_loss", title: "Log loss", up: false },
  { key: "ece", title: "Calibration error", up: false },
] as const;
export type MetricRow = (typeof metricRows)[number];

export type Interval = { low: number; high: number };

export function intervalOf(metrics: unknown, key: string): Interval | null {
  const [low, high] = [number(metrics, "intervals", key, 0), number(metrics, "intervals", key, 1)];
  return low === undefined || high === undefined ? null : { low, high };
}

export type Verdict = "first" | "better" | "worse" | "alike" | "unknown";

/** Against the first: only where the intervals do not overlap is one called better. */
export function verdictOf(metrics: unknown, first: unknown, row: MetricRow): Verdict {
  if (metrics === first) return "first";
  const [mine, theirs] = [intervalOf(metrics, row.key), intervalOf(first, row.key)];
  if (mine === null || theirs === null) return "unknown";
  if (mine.low > theirs.high) return row.up ? "better" : "worse";
  if (mine.high < theirs.low) return row.up ? "worse" : "better";
  return "alike";
}

export type CurvePoint = { step: number; loss?: number; macro_f1?: number; log_loss?: number };

/** metrics.jsonl: lines of training with a loss, lines of evaluation with the metrics. */
export function curveOf(lines: unknown): CurvePoint[] {
  return list(lines).flatMap((line): CurvePoint[] => {
    const step = number(line, "step");
    if (step === undefined) return [];
    return [{ step, loss: number(line, "loss"), macro_f1: number(line, "macro_f1") ?? number(line, "metrics", "macro_f1"), log_loss: number(line, "log_loss") ?? number(line, "metrics", "log_loss") }];
  });
}

export type ReliabilityPoint = { confidence: number; accuracy: number; n: number };

/** The reliability diagram of an evaluation; older ones carry none. */
export function reliabilityOf(metrics: unknown): ReliabilityPoint[] {
  return list(at(metrics, "reliability")).flatMap((point): ReliabilityPoint[] => {
    const [confidence, accuracy, n] = [number(point, "confidence"), number(point, "accuracy"), number(point, "n")];
    return confidence === undefined || accuracy === undefined || n === undefined ? [] : [{ confidence, accuracy, n }];
  });
}

export type Disagreement = { text: string; truth: string | undefined; labels: (string | undefined)[] };

/** Of the samples of several models: how many texts at least two of them have, and those that they label differently, the widest apart first.
 * A sample may carry its true class as `truth`. */
export function disagreementsOf(samples: unknown[][]): { shared: number; rows: Disagreement[] } {
  const byText = new Map<string, Disagreement>();
  samples.forEach((rows, model) => {
    for (const row of rows) {
      const [content, label] = [text(row, "text") ?? text(row, "body"), text(row, "label")];
      if (content === undefined || label === undefined) continue;
      const found = byText.get(content) ?? { text: content, truth: undefined, labels: samples.map(() => undefined) };
      found.labels[model] = label;
      found.truth ??= text(row, "truth");
      byText.set(content, found);
    }
  });
  const shared = [...byText.values()].filter(({ labels }) => labels.filter((l) => l !== undefined).length > 1);
  const width = ({ labels }: Disagreement) => {
    const ranks = labels.filter((l) => l !== undefined).map(classIndex);
    return Math.max(...ranks) - Math.min(...ranks);
  };
  const rows = shared.filter(({ labels }) => new Set(labels.filter((l) => l !== undefined)).size > 1).sort((a, b) => width(b) - width(a));
  return { shared: shared.length, rows };
}
