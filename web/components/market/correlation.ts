/** How sentiment of a day goes with the price's return of days before and after. */

export type Price = [date: string, close: number];
export type Lagged = { lag: number; n: number; correlation: number | null };

export function pearson(pairs: [number, number][]): number | null {
  const n = pairs.length;
  if (n < 3) return null;
  const mean = (at: 0 | 1) => pairs.reduce((sum, p) => sum + p[at], 0) / n;
  const [mx, my] = [mean(0), mean(1)];
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (const [x, y] of pairs) {
    xy += (x - mx) * (y - my);
    xx += (x - mx) ** 2;
    yy += (y - my) ** 2;
  }
  return xx === 0 || yy === 0 ? null : xy / Math.sqrt(xx * yy);
}

/** lag 1: the return of the trading day after the sentiment's; -1: of the one before. Days without trading have no return. */
export function laggedCorrelation(sentiment: Map<string, number>, prices: Price[], most = 5): Lagged[] {
  const returns = prices.map(([, close], i) => (i === 0 ? null : close / prices[i - 1]![1] - 1));
  const lags = Array.from({ length: 2 * most + 1 }, (_, i) => i - most);
  return lags.map((lag) => {
    const pairs = prices.flatMap(([date], i): [number, number][] => {
      const [s, r] = [sentiment.get(date), returns[i + lag]];
      return s === undefined || r === null || r === undefined ? [] : [[s, r]];
    });
    return { lag, n: pairs.length, correlation: pearson(pairs) };
  });
}

/** Prices of a CSV: date, close (or adj_close), and ticker where the file has several. */
export function pricesOf(rows: string[][], ticker: string): Price[] {
  const [head = [], ...body] = rows;
  const at = (name: string) => head.findIndex((h) => h.trim().toLowerCase() === name);
  const [date, close, symbol] = [at("date"), at("close") >= 0 ? at("close") : at("adj_close"), at("ticker")];
  if (date < 0 || close < 0) throw new Error("The file needs the columns date and close");
  return body
    .filter((row) => symbol < 0 || row[symbol] === ticker)
    .map((row): Price => [(row[date] ?? "").slice(0, 10), Number(row[close])])
    .filter(([d, c]) => /^\d{4}-\d\d-\d\d$/.test(d) && c > 0)
    .sort((a, b) => (a[0] < b[0] ? -1 : 1));
}
