"use client";

import { useQuery } from "@tanstack/react-query";

import { Empty, Loaded } from "@/components/states";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import { leadersQuery, type MarketSpan } from "@/lib/api/queries";
import { count, signed } from "@/lib/format";
import { text } from "@/lib/read";
import { thin } from "@/components/market/index-chart";

export function Leaders({ order, span, onPick }: { order: "bullish" | "bearish"; span: MarketSpan; onPick: (ticker: string) => void }) {
  const found = useQuery(leadersQuery({ ...span, order, least: thin, limit: 8 }));
  const title = order === "bullish" ? "Most bullish" : "Most bearish";
  return (
    <Card title={title} hint={`Of tickers with ${thin} texts or more in this span.`}>
      <Loaded query={found} label={`${title}: being asked for`}>
        {({ leaders }) =>
          leaders.length === 0 ? (
            <Empty title="No ticker has that many texts" />
          ) : (
            <Table
              name={title}
              rows={leaders}
              keyOf={(row) => text(row, "ticker") ?? ""}
              columns={[
                {
                  name: "Ticker",
                  show: (row) => (
                    <Button size="small" look="ghost" className="-my-1" onClick={() => onPick(text(row, "ticker") ?? "")}>
                      ${text(row, "ticker")}
                    </Button>
                  ),
                },
                { name: "Score", numeric: true, show: (row) => signed(row.mean) },
                { name: "95 % interval", numeric: true, className: "whitespace-nowrap", show: (row) => `${signed(row.low)} to ${signed(row.high)}` },
                { name: "Texts", numeric: true, show: (row) => count(row.count) },
              ]}
            />
          )
        }
      </Loaded>
    </Card>
  );
}
