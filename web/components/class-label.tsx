import { classBackground, classSign, classTitle } from "@/lib/classes";
import { cn } from "@/lib/cn";

/** A class by its colour, sign and name. */
export function ClassLabel({ name, className }: { name: string | null | undefined; className?: string }) {
  return (
    <span className={cn("inline-flex items-center gap-1.5 whitespace-nowrap", className)}>
      <span className={cn("inline-block size-3 rounded-sm", classBackground(name))} aria-hidden />
      <span aria-hidden className="text-[0.65rem] text-muted">
        {classSign(name)}
      </span>
      {classTitle(name)}
    </span>
  );
}
