"use client";

import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { timeAxis } from "@/components/charts/time-axis";
import { laggedCorrelation, pricesOf, type Price } from "@/components/market/correlation";
import { Empty } from "@/components/states";
import { Input } from "@/components/ui/fields";
import { sentimentQuery, type MarketSpan } from "@/lib/api/queries";
import { parseCsv } from "@/lib/csv";
import { fixed, localTime, signed } from "@/lib/format";

async function samplePrices(ticker: string): Promise<Price[]> {
  const known = (await (await fetch("/prices/index.json")).json()) as string[];
  return known.includes(ticker) ? ((await (await fetch(`/prices/${ticker}.json`)).json()) as Price[]) : [];
}

function PriceFile({ ticker, onPrices, onFail }: { ticker: string; onPrices: (p: Price[]) => void; onFail: (message: string) => void }) {
  const read = async (file: File | undefined) => {
    if (file === undefined) return;
    try {
      onPrices(pricesOf(parseCsv(await file.text()), ticker));
    } catch (error) {
      onFail(error instanceof Error ? error.message : "The file can't be read");
    }
  };
  return <Input type="file" accept=".csv,text/csv" aria-label="Prices from a CSV file" className="h-auto w-56 p-1.5 text-xs" onChange={(e) => void read(e.target.files?.[0])} />;
}

/** Price beside sentiment, by day, and how one goes with the other some days apart. */
export function Prices({ ticker, span }: { ticker: string; span: MarketSpan & { from: string; to: string } }) {
  const [own, setOwn] = useState<Price[] | null>(null);
  const [failure, setFailure] = useState("");
  const sample = useQuery({ queryKey: ["prices", ticker], queryFn: () => samplePrices(ticker), staleTime: Infinity });
  const daily = useQuery(sentimentQuery({ ...span, ticker, bucket: "1d" }));
  const prices = useMemo(
    () => (own ?? sample.data ?? []).filter(([date]) => date >= span.from.slice(0, 10) && date <= span.to.slice(0, 10)),
    [own, sample.data, span.from, span.to],
  );
  const sentiment = useMemo(
    () => new Map((daily.data?.points ?? []).flatMap((p): [string, number][] => (p.mean === null || !p.start ? [] : [[p.start.slice(0, 10), p.mean]]))),
    [daily.data],
  );
  const lagged = useMemo(() => laggedCorrelation(sentiment, prices), [sentiment, prices]);
  const n = Math.max(0, ...lagged.map((l) => l.n));
  const at = (date: string) => Date.parse(`${date}T00:00:00Z`);
  return (
    <div className="grid gap-4 xl:grid-cols-3">
      <ChartFrame
        className="xl:col-span-2"
        title={`$${ticker}: price beside sentiment`}
        hint="Daily close, and the day's mean score (UTC)."
        kind="line"
        file={`finch-${ticker}-price`}
        height={400}
        actions={<PriceFile ticker={ticker} onPrices={(p) => { setOwn(p); setFailure(""); }} onFail={setFailure} />}
        rows={prices.map(([date, close]) => ({ date, close, mean: sentiment.get(date) ?? null }))}
        columns={[
          { key: "date", name: "Date" },
          { key: "close", name: "Close", numeric: true, show: (v) => fixed(v as number) },
          { key: "mean", name: "Mean score", numeric: true, show: (v) => signed(v as number) },
        ]}
        empty={<Empty title={`No prices of $${ticker} in this span`}>Choose a CSV file with the columns date and close (and ticker). It stays in this browser.</Empty>}
        data={() => ({
          datasets: [
            { type: "line" as const, label: "close", yAxisID: "y", data: prices.map(([date, close]) => ({ x: at(date), y: close })), borderColor: tokenColour("ink"), pointRadius: 0, borderWidth: 1.5 },
            { type: "line" as const, label: "mean score", yAxisID: "score", data: prices.map(([date]) => ({ x: at(date), y: sentiment.get(date) ?? null })), borderColor: tokenColour("class-3"), backgroundColor: tokenColour("class-3"), pointRadius: 1.5, borderWidth: 1, borderDash: [4, 2], spanGaps: true },
          ],
        })}
        options={() => ({
          interaction: { mode: "index", intersect: false },
          plugins: { tooltip: { callbacks: { title: (items) => localTime(items[0]?.parsed.x ?? 0, false) } } },
          scales: { x: timeAxis({ min: at(prices[0]![0]), max: at(prices[prices.length - 1]![0]) }), y: { title: { display: true, text: "close" } }, score: { position: "right", min: -1, max: 1, grid: { display: false }, title: { display: true, text: "score" } } },
        })}
      >
        {failure && <p role="alert" className="mt-2 text-sm text-danger">{failure}</p>}
      </ChartFrame>
      <ChartFrame
        title="Lagged correlation"
        hint={`Of a day's score with the return so many trading days later (left of 0: before). At most ${n} days.`}
        kind="bar"
        file={`finch-${ticker}-lags`}
        rows={n >= 3 ? lagged : []}
        columns={[
          { key: "lag", name: "Lag, days", numeric: true },
          { key: "correlation", name: "Correlation", numeric: true, show: (v) => signed(v as number, 3) },
          { key: "n", name: "Days", numeric: true },
        ]}
        empty={<Empty title="Too few days with both" />}
        data={() => ({ labels: lagged.map((l) => String(l.lag)), datasets: [{ type: "bar" as const, label: "correlation", data: lagged.map((l) => l.correlation), backgroundColor: tokenColour("class-3") }] })}
        options={() => ({ plugins: { legend: { display: false } }, scales: { x: { title: { display: true, text: "lag in trading days" } }, y: { suggestedMin: -0.3, suggestedMax: 0.3 } } })}
      >
        <p className="mt-2 text-xs text-muted">
          Correlation is no forecast: of eleven lags some stand out by chance (without any effect, values within ±{n > 0 ? fixed(1.96 / Math.sqrt(n)) : "–"} are usual), and texts often follow the price.
        </p>
      </ChartFrame>
    </div>
  );
}
