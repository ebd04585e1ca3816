"use client";

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useRef, useState } from "react";

import { ConnectionBadge } from "@/components/connection";
import { IndexChart } from "@/components/market/index-chart";
import { Leaders } from "@/components/market/leaders";
import { Prices } from "@/components/market/prices";
import { bucketOf, buckets, extentOf, ranges, rangeTitles, spanOf, type Range } from "@/components/market/span";
import { Texts } from "@/components/market/texts";
import { PageHead } from "@/components/shell";
import { Empty, Loaded } from "@/components/states";
import { Card } from "@/components/ui/card";
import { Field, Input, Select } from "@/components/ui/fields";
import { Switch } from "@/components/ui/switch";
import { sentimentQuery, tickersQuery, type MarketSpan } from "@/lib/api/queries";
import { count } from "@/lib/format";
import { useStream } from "@/lib/stream";
import { useUrlState } from "@/lib/url-state";

const presets = { ticker: "", range: "3m", bucket: "auto", reach: "", spam: "", from: "", to: "" };
type Filters = typeof presets;
const refreshMs = 3_000;

function TickerSearch({ ticker, onChange }: { ticker: string; onChange: (ticker: string) => void }) {
  const [typed, setTyped] = useState<string | null>(null);
  const prefix = (typed ?? "").toUpperCase().replace(/^\$/, "");
  const found = useQuery(tickersQuery(prefix));
  const choose = (value: string) => {
    setTyped(null);
    onChange(value.toUpperCase().replace(/^\$/, "").trim());
  };
  return (
    <Field label="Ticker" className="w-36">
      <Input
        list="known-tickers"
        placeholder="all texts"
        spellCheck={false}
        autoComplete="off"
        maxLength={16}
        value={typed ?? ticker}
        onChange={(e) => {
          const exact = found.data?.tickers.some((t) => t.ticker === e.target.value.toUpperCase());
          if (exact && !(e.nativeEvent instanceof InputEvent)) choose(e.target.value);
          else setTyped(e.target.value);
        }}
        onBlur={() => typed !== null && choose(typed)}
        onKeyDown={(e) => e.key === "Enter" && typed !== null && choose(typed)}
      />
    </Field>
  );
}

function TickerList() {
  const found = useQuery(tickersQuery("", 50));
  return (
    <datalist id="known-tickers">
      {found.data?.tickers.map((t) => (
        <option key={t.ticker} value={t.ticker}>
          {count(t.count)} texts
        </option>
      ))}
    </datalist>
  );
}

function FilterBar({ filters, set }: { filters: Filters; set: (change: Partial<Filters>) => void }) {
  return (
    <Card>
      <div role="search" aria-label="Filters" className="flex flex-wrap items-end gap-x-4 gap-y-3">
        <TickerSearch ticker={filters.ticker} onChange={(ticker) => set({ ticker, from: "", to: "" })} />
        <TickerList />
        <Field label="Range" className="w-36">
          <Select value={filters.range} onChange={(e) => set({ range: e.target.value, from: "", to: "" })}>
            {Object.entries(rangeTitles).map(([value, title]) => (
              <option key={value} value={value}>
                {title}
              </option>
            ))}
          </Select>
        </Field>
        <Field label="Bucket" className="w-28">
          <Select value={filters.bucket} onChange={(e) => set({ bucket: e.target.value, from: "", to: "" })}>
            {buckets.map((bucket) => (
              <option key={bucket}>{bucket}</option>
            ))}
          </Select>
        </Field>
        <div className="flex flex-wrap gap-x-5 gap-y-2 pb-1.5">
          <Switch label="Weighted by reach" checked={filters.reach !== ""} onChange={(on) => set({ reach: on ? "1" : "" })} />
          <Switch label="With spam and near-copies" checked={filters.spam !== ""} onChange={(on) => set({ spam: on ? "1" : "" })} />
        </div>
      </div>
    </Card>
  );
}

/** New predictions make the charts ask anew, every three seconds at most, however many come. */
function useLive(ticker: string) {
  const client = useQueryClient();
  const [seen, setSeen] = useState(0);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const query = useMemo(() => new URLSearchParams({ kind: "prediction", ...(ticker ? { ticker } : {}) }).toString(), [ticker]);
  const connection = useStream(query, (events) => {
    setSeen((n) => n + events.length);
    timer.current ??= setTimeout(() => {
      timer.current = null;
      for (const key of ["tickers", "sentiment", "leaders"]) void client.invalidateQueries({ queryKey: [key] });
    }, refreshMs);
  });
  return { connection, seen };
}

export function Market() {
  const [filters, set] = useUrlState(presets);
  const { connection, seen } = useLive(filters.ticker);
  const known = useQuery(tickersQuery(filters.ticker, 50));
  const extent = useMemo(() => {
    const all = known.data?.tickers ?? [];
    return extentOf(filters.ticker ? all.filter((t) => t.ticker === filters.ticker) : all);
  }, [known.data, filters.ticker]);
  return (
    <>
      <PageHead title="Market" hint="What is said about the market, and how it changes.">
        {seen > 0 && <span className="text-sm text-muted">{count(seen)} new</span>}
        <ConnectionBadge connection={connection} />
      </PageHead>
      <FilterBar filters={filters} set={set} />
      <Loaded query={known} label="The history is being asked for" skeleton="h-96">
        {() =>
          extent === null ? (
            <Card>
              <Empty title={filters.ticker ? `Nothing is known of $${filters.ticker}` : "The history is empty"}>
                finch history import fills it from a scored table; with --keep-predictions, or by a key that says so, it keeps what is predicted.
              </Empty>
            </Card>
          ) : (
            <View filters={filters} set={set} extent={extent} />
          )
        }
      </Loaded>
    </>
  );
}

function View({ filters, set, extent }: { filters: Filters; set: (change: Partial<Filters>) => void; extent: { first: number; last: number } }) {
  const { ticker } = filters;
  const range = (filters.range in ranges ? filters.range : "3m") as Range;
  const { from, to, length } = spanOf(range, extent);
  const bucket = bucketOf(filters.bucket, length);
  const more: MarketSpan = { ...(filters.reach ? { weight: "reach" } : {}), ...(filters.spam ? { spam: true, near_duplicates: true } : {}) };
  const span = { from, to, ...more };
  const sentiment = useQuery(sentimentQuery({ ...span, bucket, ...(ticker ? { ticker } : {}) }));
  return (
    <>
      <Loaded query={sentiment} label="Sentiment is being asked for" skeleton="h-96">
        {(data) => (
          <IndexChart
            title={ticker ? `$${ticker}: sentiment index` : "Sentiment index of all texts"}
            points={data.points}
            bucket={bucket}
            file={`finch-${ticker || "market"}-sentiment`}
            onPick={(point) => set({ from: point.start ?? "", to: point.end ?? "" })}
          />
        )}
      </Loaded>
      {filters.from !== "" && filters.to !== "" && <Texts ticker={ticker} span={{ ...more, from: filters.from, to: filters.to }} onClose={() => set({ from: "", to: "" })} />}
      {ticker && <Prices key={ticker} ticker={ticker} span={span} />}
      <div className="grid gap-4 xl:grid-cols-2">
        {(["bullish", "bearish"] as const).map((order) => (
          <Leaders key={order} order={order} span={span} onPick={(next) => set({ ticker: next, from: "", to: "" })} />
        ))}
      </div>
    </>
  );
}
