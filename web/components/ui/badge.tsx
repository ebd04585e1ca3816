import { cva, type VariantProps } from "class-variance-authority";
import type { HTMLAttributes } from "react";

import { cn } from "@/lib/cn";

const looks = cva("inline-flex items-center gap-1 rounded-full border px-2 py-0.5 text-xs font-medium", {
  variants: {
    tone: {
      plain: "bg-raised text-ink",
      good: "border-good/40 bg-good/10 text-good",
      warn: "border-warn/40 bg-warn/10 text-warn",
      danger: "border-danger/40 bg-danger/10 text-danger",
      accent: "border-accent/40 bg-accent/10 text-accent",
    },
  },
  defaultVariants: { tone: "plain" },
});

export function Badge({ tone, className, ...rest }: HTMLAttributes<HTMLSpanElement> & VariantProps<typeof looks>) {
  return <span className={cn(looks({ tone }), className)} {...rest} />;
}
