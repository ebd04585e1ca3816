"use client";

import { tokenColour } from "@/components/charts/colour";
import { pointsMarkedMost } from "@/components/charts/density";
import { ChartFrame } from "@/components/charts/frame";
import { timeAxis } from "@/components/charts/time-axis";
import { Empty } from "@/components/states";
import type { Point } from "@/lib/api/client";
import { count, localTime, percent, signed, utcTime } from "@/lib/format";

/** A mean of fewer texts than this is drawn hollow. */
export const thin = 10;

/** Over more empty buckets than this no line is drawn: it would tell of a time of which nothing is known. */
const gapMost = 30;

const timeOf = (p: Point) => Date.parse(p.start ?? "");

export function IndexChart({ title, points, bucket, file, onPick }: { title: string; points: Point[]; bucket: string; file: string; onPick: (point: Point) => void }) {
  const bucketMs = points.length > 0 ? Date.parse(points[0]!.end ?? "") - timeOf(points[0]!) : 0;
  const share = (p: Point, name: string) => p.shares?.[name];
  return (
    <ChartFrame
      title={title}
      hint={`Mean score with its 95 % interval, one point a bucket (${bucket}); hollow: fewer than ${thin} texts. Click a point for its texts.`}
      kind="bar"
      file={file}
      height={360}
      empty={<Empty title="No text of this span">Choose another ticker or a longer range.</Empty>}
      rows={points.map((p) => ({ start: p.start, count: p.count, mean: p.mean, low: p.low, high: p.high, strongly_negative: share(p, "STRONGLY_NEGATIVE"), strongly_positive: share(p, "STRONGLY_POSITIVE"), left_out: p.left_out_share }))}
      columns={[
        {
          key: "start",
          name: "From",
          show: (v) => (
            <button type="button" className="underline underline-offset-2" title={`${utcTime(String(v))}: show the texts`} onClick={() => points.filter((p) => p.start === v).forEach(onPick)}>
              {localTime(String(v))}
            </button>
          ),
        },
        { key: "count", name: "Texts", numeric: true, show: (v) => count(v as number) },
        { key: "mean", name: "Mean", numeric: true, show: (v) => signed(v as number) },
        { key: "low", name: "Low", numeric: true, show: (v) => signed(v as number) },
        { key: "high", name: "High", numeric: true, show: (v) => signed(v as number) },
        { key: "strongly_negative", name: "Strongly negative", numeric: true, show: (v) => percent(v as number) },
        { key: "strongly_positive", name: "Strongly positive", numeric: true, show: (v) => percent(v as number) },
        { key: "left_out", name: "Left out", numeric: true, show: (v) => percent(v as number) },
      ]}
      data={() => ({
        datasets: [
          {
            type: "line" as const,
            label: "mean score",
            yAxisID: "y",
            order: 0,
            data: points.map((p) => ({ x: timeOf(p), y: p.mean })),
            borderColor: tokenColour("accent"),
            pointBackgroundColor: points.map((p) => (p.count < thin ? tokenColour("surface") : tokenColour("accent"))),
            pointBorderColor: tokenColour("accent"),
            pointRadius: points.length > pointsMarkedMost ? 0 : points.length > 200 ? 2 : 3.5,
            pointHoverRadius: 6,
            borderWidth: 1.5,
            spanGaps: gapMost * bucketMs,
            interval: { low: points.map((p) => p.low), high: points.map((p) => p.high) },
          } as never,
          {
            type: "bar" as const,
            label: "texts",
            yAxisID: "volume",
            order: 1,
            data: points.map((p) => ({ x: timeOf(p), y: p.count })),
            backgroundColor: tokenColour("class-2", 0.3),
            barPercentage: 1,
            categoryPercentage: 0.9,
          },
        ],
      })}
      options={() => ({
        interaction: { mode: "index", intersect: false },
        onClick: (_event, elements) => {
          const point = points[elements[0]?.index ?? -1];
          if (point !== undefined) onPick(point);
        },
        plugins: {
          tooltip: {
            callbacks: {
              title: (items) => localTime(items[0]?.parsed.x ?? 0),
              label: (item) => {
                const p = points[item.dataIndex];
                if (p === undefined) return "";
                return item.datasetIndex === 0 ? `score ${signed(p.mean)} (${signed(p.low)} to ${signed(p.high)})` : `${count(p.count)} texts`;
              },
              footer: (items) => utcTime(items[0]?.parsed.x ?? 0),
            },
          },
        },
        scales: {
          x: { ...timeAxis({ min: timeOf(points[0]!) - bucketMs / 2, max: Date.parse(points[points.length - 1]!.end ?? "") }), offset: false },
          y: { min: Math.max(-1, Math.min(-0.5, ...points.map((p) => p.low ?? p.mean ?? 0))), max: Math.min(1, Math.max(0.5, ...points.map((p) => p.high ?? p.mean ?? 0))), title: { display: true, text: "score" } },
          volume: { position: "right", beginAtZero: true, grid: { display: false }, title: { display: true, text: "texts" }, suggestedMax: 4 * Math.max(1, ...points.map((p) => p.count)) },
        },
      })}
    />
  );
}
