"use client";

import {
  BarController,
  BarElement,
  Chart as ChartJs,
  Filler,
  Legend,
  LineController,
  LineElement,
  LinearScale,
  CategoryScale,
  PointElement,
  Tooltip,
  type ChartData,
  type ChartOptions,
  type Plugin,
} from "chart.js";
import { useEffect, useState, type RefObject } from "react";
import { Chart } from "react-chartjs-2";

import { tokenColour } from "@/components/charts/colour";
import { pointsMarkedMost } from "@/components/charts/density";

ChartJs.register(BarController, BarElement, LineController, LineElement, PointElement, LinearScale, CategoryScale, Filler, Legend, Tooltip);

export type Kind = "line" | "bar";
export type Xy = { x: number; y: number | null };
/** Whiskers from low to high. */
export type Interval = { low: (number | null)[]; high: (number | null)[] };

/** Counts up when the theme changes, so that colours are read anew. */
function useThemeVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const onChange = () => setVersion((v) => v + 1);
    window.addEventListener("finch-theme", onChange);
    return () => window.removeEventListener("finch-theme", onChange);
  }, []);
  return version;
}

/** Error bars of the datasets that carry an `interval`. */
const whiskers: Plugin<Kind> = {
  id: "whiskers",
  beforeDatasetsDraw(chart) {
    const { ctx } = chart;
    chart.data.datasets.forEach((dataset, index) => {
      const interval = (dataset as { interval?: Interval }).interval;
      const meta = chart.getDatasetMeta(index);
      const scale = meta.yScale;
      if (interval === undefined || scale === undefined || !chart.isDatasetVisible(index)) return;
      const { left, top, width, height } = chart.chartArea;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, width, height);
      ctx.clip();
      ctx.strokeStyle = tokenColour("muted", 0.6);
      ctx.lineWidth = 1;
      ctx.beginPath();
      meta.data.forEach((element, i) => {
        const low = interval.low[i];
        const high = interval.high[i];
        if (low === null || low === undefined || high === null || high === undefined) return;
        const [from, to] = [scale.getPixelForValue(low), scale.getPixelForValue(high)];
        ctx.moveTo(element.x, from);
        ctx.lineTo(element.x, to);
        for (const y of [from, to]) {
          ctx.moveTo(element.x - 3, y);
          ctx.lineTo(element.x + 3, y);
        }
      });
      ctx.stroke();
      ctx.restore();
    });
  },
};

function withColours(options: ChartOptions<Kind>, points: number): ChartOptions<Kind> {
  ChartJs.defaults.color = tokenColour("muted");
  ChartJs.defaults.borderColor = tokenColour("line");
  ChartJs.defaults.font.family = "Inter Variable, system-ui, sans-serif";
  const still = points > pointsMarkedMost || matchMedia("(prefers-reduced-motion: reduce)").matches;
  return { responsive: true, maintainAspectRatio: false, normalized: true, ...(still ? { animation: false as const } : {}), ...options };
}

export type CanvasProps = {
  kind: Kind;
  /** Made anew for each theme: colours are read while it runs. */
  data: () => ChartData<Kind, (number | null)[] | Xy[]>;
  options: () => ChartOptions<Kind>;
  name: string;
  chart: RefObject<ChartJs<Kind, (number | null)[] | Xy[]>>;
};

export default function Canvas({ kind, data, options, name, chart }: CanvasProps) {
  const version = useThemeVersion();
  const content = data();
  const points = Math.max(0, ...content.datasets.map((dataset) => dataset.data.length));
  return (
    <Chart key={version} ref={chart} type={kind} data={content} options={withColours(options(), points)} plugins={[whiskers]} role="img" aria-label={name} fallbackContent={<p>{name}</p>} />
  );
}
