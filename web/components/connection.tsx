import { Radio } from "lucide-react";

import { Badge } from "@/components/ui/badge";
import type { Connection } from "@/lib/stream";

const stories = {
  connecting: { tone: "plain", text: "connecting…" },
  live: { tone: "good", text: "live" },
  waiting: { tone: "warn", text: "connection lost, trying again" },
} as const;

/** Whether what is shown is kept up to date by the stream. */
export function ConnectionBadge({ connection }: { connection: Connection }) {
  const { tone, text } = stories[connection];
  return (
    <Badge tone={tone} role="status">
      <Radio className="size-3.5" aria-hidden /> {text}
    </Badge>
  );
}
