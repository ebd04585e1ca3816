"use client";

import { X } from "lucide-react";
import { useEffect, useId, useRef, type ReactNode } from "react";

import { Button } from "@/components/ui/button";
import { cn } from "@/lib/cn";

/** The browser's own modal: it keeps the focus inside, closes by Escape, and (unlike the usual libraries) injects no style sheet,
 * which the Content-Security-Policy would refuse. */
export function Dialog({ open, title, onClose, wide = false, children }: { open: boolean; title: ReactNode; onClose: () => void; wide?: boolean; children: ReactNode }) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();

  useEffect(() => {
    const dialog = element.current;
    if (dialog === null) return;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);

  return (
    <dialog
      ref={element}
      aria-labelledby={heading}
      onClose={onClose}
      onClick={(event) => event.target === element.current && onClose()}
      className={cn(
        "m-auto w-[calc(100vw-1.5rem)] rounded-lg border bg-surface p-0 text-ink shadow-xl",
        wide ? "max-w-4xl" : "max-w-md",
      )}
    >
      {open && (
        <div className="max-h-[85vh] overflow-y-auto p-5">
          <div className="mb-4 flex items-start justify-between gap-3">
            <h2 id={heading} className="text-lg font-semibold">
              {title}
            </h2>
            <Button look="ghost" size="icon" aria-label="Close" onClick={onClose} className="-mr-2 -mt-1.5">
              <X />
            </Button>
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}
