/** The five classes: order, names and signs. Colours are the tokens class-0 .. class-4 of app/globals.css. */

export const classes = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"] as const;
export type ClassName = (typeof classes)[number];

const titles: Record<ClassName, string> = {
  STRONGLY_NEGATIVE: "Strongly negative",
  NEGATIVE: "Negative",
  NEUTRAL: "Neutral",
  POSITIVE: "Positive",
  STRONGLY_POSITIVE: "Strongly positive",
};

/** Signs beside the colours, so that no class is told by colour alone. */
const signs = ["▼▼", "▼", "●", "▲", "▲▲"];
const backgrounds = ["bg-class-0", "bg-class-1", "bg-class-2", "bg-class-3", "bg-class-4"];

/** 0 to 4; -1 where a model has classes of its own. */
export function classIndex(name: string | null | undefined): number {
  return classes.indexOf(name as ClassName);
}

export function classTitle(name: string | null | undefined): string {
  if (!name) return "–";
  return titles[name as ClassName] ?? name;
}

export function classSign(name: string | null | undefined): string {
  return signs[classIndex(name)] ?? "■";
}

export function classBackground(name: string | null | undefined): string {
  return backgrounds[classIndex(name)] ?? "bg-accent";
}

/** Of a score from -1 to 1: the class whose middle is the nearest. */
export function scoreClass(score: number): ClassName {
  return classes[Math.max(0, Math.min(4, Math.round(score * 2 + 2)))] ?? "NEUTRAL";
}
