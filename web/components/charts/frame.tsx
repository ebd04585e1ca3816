"use client";

import { ChartLine, Download, Image as ImageIcon, Table as TableIcon } from "lucide-react";
import dynamic from "next/dynamic";
import { useRef, useState, type ReactNode } from "react";

import type { CanvasProps } from "@/components/charts/canvas";
import { savePng } from "@/components/charts/png";
import { Empty, Loading } from "@/components/states";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Table, type Column } from "@/components/ui/table";
import { csvText, type Cell } from "@/lib/csv";
import { download } from "@/lib/download";

/** Chart.js comes once a chart is to be drawn. */
const Canvas = dynamic(() => import("@/components/charts/canvas"), { ssr: false, loading: () => <Loading label="The chart is being loaded" className="h-full" /> });

type Row = Record<string, Cell>;
export type FrameProps = Omit<CanvasProps, "chart" | "name"> & {
  title: string;
  hint?: ReactNode;
  /** What the chart says, for the table and for CSV: the same columns in both. */
  columns: { key: string; name: string; numeric?: boolean; show?: (value: Cell) => ReactNode }[];
  rows: Row[];
  file: string;
  height?: number;
  actions?: ReactNode;
  empty?: ReactNode;
  className?: string;
  children?: ReactNode;
};

/** A chart with its name, its table, and its exports. */
export function ChartFrame({ title, hint, columns, rows, file, height = 280, actions, empty, className, children, ...canvas }: FrameProps) {
  const [asTable, setAsTable] = useState(false);
  const chart: CanvasProps["chart"] = useRef(null);
  const saveCsv = () =>
    download(`${file}.csv`, new Blob([csvText(columns.map((c) => c.key), rows.map((row) => columns.map((c) => row[c.key])))], { type: "text/csv" }));
  const tableColumns: Column<Row>[] = columns.map(({ key, name, numeric, show }) => ({
    name,
    numeric,
    show: (row) => (show ? show(row[key]) : (row[key]?.toString() ?? "–")),
  }));
  const none = rows.length === 0;
  return (
    <Card
      title={title}
      hint={hint}
      className={className}
      actions={
        <>
          {actions}
          {!none && (
            <div role="group" aria-label={`${title}: view and export`} className="flex">
              <Button look="ghost" size="icon" aria-pressed={asTable} aria-label={asTable ? `${title}: show the chart` : `${title}: show the table`} title={asTable ? "Chart" : "Table"} onClick={() => setAsTable(!asTable)}>
                {asTable ? <ChartLine /> : <TableIcon />}
              </Button>
              <Button look="ghost" size="icon" aria-label={`${title}: save as CSV`} title="CSV" onClick={saveCsv}>
                <Download />
              </Button>
              <Button look="ghost" size="icon" aria-label={`${title}: save as PNG`} title="PNG" disabled={asTable} onClick={() => chart.current !== null && savePng(chart.current.canvas, `${file}.png`)}>
                <ImageIcon />
              </Button>
            </div>
          )}
        </>
      }
    >
      {none && (empty ?? <Empty title="Nothing to show yet" />)}
      {!none && asTable && <Table name={title} columns={tableColumns} rows={rows} keyOf={(_, index) => index} height={height} />}
      {!none && !asTable && (
        <div className="relative" style={{ height }}>
          <Canvas {...canvas} name={title} chart={chart} />
        </div>
      )}
      {children}
    </Card>
  );
}
