import type { HTMLAttributes, ReactNode } from "react";

import { cn } from "@/lib/cn";

type CardProps = Omit<HTMLAttributes<HTMLElement>, "title"> & { title?: ReactNode; hint?: ReactNode; actions?: ReactNode };

/** A section with its heading. */
export function Card({ title, hint, actions, className, children, ...rest }: CardProps) {
  return (
    <section className={cn("min-w-0 rounded-lg border bg-surface p-4 shadow-sm", className)} {...rest}>
      {(title || actions) && (
        <header className="mb-3 flex flex-wrap items-start justify-between gap-2">
          <div className="min-w-0">
            {title && <h2 className="text-base font-semibold">{title}</h2>}
            {hint && <p className="mt-0.5 text-sm text-muted">{hint}</p>}
          </div>
          {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}
