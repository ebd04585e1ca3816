"use client";

import { ClassLabel } from "@/components/class-label";
import { Explanation } from "@/components/analyse/explanation";
import { Badge } from "@/components/ui/badge";
import type { Prediction } from "@/lib/api/client";
import { classBackground, scoreClass } from "@/lib/classes";
import { cn } from "@/lib/cn";
import { percent, signed } from "@/lib/format";
import Link from "next/link";

function Bars({ prediction }: { prediction: Prediction }) {
  return (
    <dl className="grid grid-cols-[max-content_1fr_max-content] items-center gap-x-3 gap-y-1.5 text-sm">
      {Object.entries(prediction.probabilities).map(([name, probability]) => (
        <div key={name} className="contents">
          <dt className={cn(name === prediction.label && "font-semibold")}>
            <ClassLabel name={name} />
          </dt>
          <dd className="h-3 min-w-8 overflow-hidden rounded-sm bg-raised" aria-hidden>
            <div className={cn("h-full", classBackground(name))} style={{ width: `${probability * 100}%` }} />
          </dd>
          <dd className="text-right tabular-nums">{percent(probability)}</dd>
        </div>
      ))}
    </dl>
  );
}

/** From -1 to 1, with the mark where the text stands. */
function Score({ score }: { score: number }) {
  return (
    <div className="flex items-center gap-3">
      <span className="text-3xl font-semibold tabular-nums">{signed(score)}</span>
      <div className="relative h-3 min-w-24 flex-1 rounded-full bg-raised" role="img" aria-label={`Score ${signed(score)} on a scale from −1 to +1`}>
        <span className="absolute left-1/2 top-0 h-full w-px bg-muted" />
        <span
          className={cn("absolute top-1/2 size-4 -translate-x-1/2 -translate-y-1/2 rounded-full border-2 border-surface", classBackground(scoreClass(score)))}
          style={{ left: `${(score + 1) * 50}%` }}
        />
      </div>
    </div>
  );
}

export function Result({ text, prediction }: { text: string; prediction: Prediction }) {
  return (
    <article aria-label={`Result of ${prediction.model}`} className="min-w-0 space-y-4 rounded-lg border bg-surface p-4 shadow-sm">
      <header className="flex flex-wrap items-center justify-between gap-2">
        <h2 className="text-lg font-semibold">
          <ClassLabel name={prediction.label} />
        </h2>
        <Badge>{prediction.model}</Badge>
      </header>
      {prediction.score !== null && <Score score={prediction.score} />}
      <Bars prediction={prediction} />
      <Explanation text={text} prediction={prediction} />
      <footer className="flex flex-wrap items-center gap-2 text-sm text-muted">
        {(prediction.tickers ?? []).map((ticker) => (
          <Link key={ticker} href={`/?ticker=${encodeURIComponent(ticker)}`} className="rounded-full border bg-raised px-2.5 py-1 text-xs font-medium text-ink hover:border-accent">
            ${ticker}
          </Link>
        ))}
        <span>{prediction.tokens} tokens</span>
        {prediction.truncated && <Badge tone="warn">cut: longer than the model reads</Badge>}
        {prediction.cached && <Badge>from the cache</Badge>}
      </footer>
    </article>
  );
}
