/** Which stretch of time a market view shows. */

const day = 86_400_000;
export const ranges = { "1w": 7 * day, "1m": 30 * day, "3m": 91 * day, "1y": 365 * day, all: Infinity } as const;
export type Range = keyof typeof ranges;
export const rangeTitles: Record<Range, string> = { "1w": "A week", "1m": "A month", "3m": "3 months", "1y": "A year", all: "Everything" };
export const buckets = ["auto", "1h", "4h", "1d", "1w", "1mo"] as const;

type Known = { first?: string | null; last?: string | null };

/** From the oldest to the newest text of these tickers; null where there is none. */
export function extentOf(tickers: Known[]): { first: number; last: number } | null {
  const times = (key: keyof Known) => tickers.map((t) => Date.parse(t[key] ?? "")).filter((v) => !Number.isNaN(v));
  const [firsts, lasts] = [times("first"), times("last")];
  return firsts.length === 0 || lasts.length === 0 ? null : { first: Math.min(...firsts), last: Math.max(...lasts) };
}

/** A range ends at the newest text, so that a history of long ago is not an empty page. Whole hours: the same question, the same answer
 * from the cache. */
export function spanOf(range: Range, extent: { first: number; last: number }): { from: string; to: string; length: number } {
  const hour = 3_600_000;
  const to = (Math.floor(extent.last / hour) + 1) * hour;
  const from = Math.max(to - ranges[range], Math.floor(extent.first / hour) * hour);
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString(), length: to - from };
}

export function bucketOf(chosen: string, length: number): string {
  if (chosen !== "auto") return chosen;
  if (length <= 8 * day) return "4h";
  if (length <= 200 * day) return "1d";
  return "1w";
}
