/* Before `next build`: the sample's daily prices, one small JSON file a ticker, from data/stocknet/prices.csv.gz. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const target = join(web, "public", "prices");
const text = gunzipSync(readFileSync(join(web, "..", "data", "stocknet", "prices.csv.gz"))).toString("utf8");
const [head, ...lines] = text.trim().split("\n");
const columns = head.split(",");
const at = Object.fromEntries(["date", "ticker", "close"].map((name) => [name, columns.indexOf(name)]));

const byTicker = new Map();
for (const line of lines) {
  const cells = line.split(",");
  const ticker = cells[at.ticker];
  if (!/^[A-Z0-9.-]{1,15}$/.test(ticker)) throw new Error(`prices.csv.gz: no ticker: ${ticker}`);
  if (!byTicker.has(ticker)) byTicker.set(ticker, []);
  byTicker.get(ticker).push([cells[at.date], Number(cells[at.close])]);
}
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const [ticker, rows] of byTicker) writeFileSync(join(target, `${ticker}.json`), JSON.stringify(rows));
writeFileSync(join(target, "index.json"), JSON.stringify([...byTicker.keys()].sort()));
