"use client";

import { useMemo } from "react";

import { Table } from "@/components/ui/table";
import type { Prediction } from "@/lib/api/client";
import { signed } from "@/lib/format";
import { list, number, text as textOf } from "@/lib/read";

export type Moved = { word: string; begin: number; end: number; weight: number };
type Piece = { text: string; weight: number | null };

/** Offsets count the UTF-8 bytes of the text. */
export function piecesOf(text: string, words: Moved[]): Piece[] {
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder();
  const pieces: Piece[] = [];
  let at = 0;
  for (const { begin, end, weight } of [...words].sort((a, b) => a.begin - b.begin)) {
    if (begin < at || end > bytes.length) continue;
    if (begin > at) pieces.push({ text: decoder.decode(bytes.slice(at, begin)), weight: null });
    pieces.push({ text: decoder.decode(bytes.slice(begin, end)), weight });
    at = end;
  }
  if (at < bytes.length) pieces.push({ text: decoder.decode(bytes.slice(at)), weight: null });
  return pieces;
}

export function movedOf(prediction: Prediction): Moved[] {
  return list(prediction.explanation?.words).map((word) => ({
    word: textOf(word, "word") ?? "",
    begin: number(word, "begin") ?? 0,
    end: number(word, "end") ?? 0,
    weight: number(word, "weight") ?? 0,
  }));
}

/** Up is blue and solid, down is orange and dashed; how strong the ground is says how much. */
function Word({ piece, most }: { piece: Piece; most: number }) {
  const weight = piece.weight ?? 0;
  const strength = most > 0 ? Math.abs(weight) / most : 0;
  if (piece.weight === null || strength < 0.05) return <span>{piece.text}</span>;
  const token = weight > 0 ? "--class-3" : "--class-0";
  return (
    <span
      title={`${signed(weight, 3)} to the score`}
      className="rounded-sm px-0.5"
      style={{
        backgroundColor: `rgb(var(${token}) / ${(0.08 + 0.27 * strength).toFixed(2)})`,
        borderBottom: `2px ${weight > 0 ? "solid" : "dashed"} rgb(var(${token}))`,
      }}
    >
      {piece.text}
    </span>
  );
}

export function Explanation({ text, prediction }: { text: string; prediction: Prediction }) {
  const words = useMemo(() => movedOf(prediction), [prediction]);
  const pieces = useMemo(() => piecesOf(text, words), [text, words]);
  const explanation = prediction.explanation;
  if (explanation === undefined || words.length === 0) return null;
  const most = Math.max(...words.map((w) => Math.abs(w.weight)));
  return (
    <div className="space-y-2">
      <p className="whitespace-pre-wrap break-words leading-loose">
        {pieces.map((piece, index) => (
          <Word key={index} piece={piece} most={most} />
        ))}
      </p>
      <p className="text-xs text-muted">
        Solid: moved the score up. Dashed: down. Method {explanation.method}; the empty text scores {signed(explanation.base, 3)}, the words{" "}
        {signed(explanation.sum, 3)}.
      </p>
      <details>
        <summary className="cursor-pointer text-sm text-muted">Weights as a table</summary>
        <div className="mt-2">
          <Table
            name={`Words that moved the score of ${prediction.model}`}
            height={260}
            rows={[...words].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))}
            keyOf={(w) => w.begin}
            columns={[
              { name: "Word", show: (w) => w.word },
              { name: "Weight", numeric: true, show: (w) => signed(w.weight, 4) },
            ]}
          />
        </div>
      </details>
    </div>
  );
}
