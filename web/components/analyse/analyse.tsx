"use client";

import { useMutation, useQuery } from "@tanstack/react-query";
import { Check as CheckIcon, Copy, Send, Trash2 } from "lucide-react";
import { useState, type FormEvent, type KeyboardEvent } from "react";

import { Result } from "@/components/analyse/result";
import { curlOf, pythonOf } from "@/components/analyse/snippets";
import { ClassLabel } from "@/components/class-label";
import { PageHead } from "@/components/shell";
import { Empty, Failure, Loading } from "@/components/states";
import { Time } from "@/components/time";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Check, Field, Textarea } from "@/components/ui/fields";
import { ApiError, api, call, type Prediction } from "@/lib/api/client";
import { modelsQuery } from "@/lib/api/queries";
import { signed } from "@/lib/format";
import { useAccess, useAnalyses, type Analysis } from "@/lib/store";

const examples = ["$AAPL beats on revenue, raises guidance", "Selling all my $TSLA, this quarter was a disaster", "Fed minutes due at 2pm ET"];

/** A model that gives no score has nothing to explain. */
async function predictWith(text: string, model: string | null): Promise<Prediction> {
  const ask = async (explain: boolean) => {
    const data = await call(api.POST("/api/v1/predict", { body: { text, ...(model ? { model } : {}), explain } }));
    return Array.isArray(data) ? data[0]! : data;
  };
  try {
    return await ask(true);
  } catch (error) {
    if (error instanceof ApiError && error.status === 422 && error.message.includes("explain")) return ask(false);
    throw error;
  }
}

function CopyButton({ title, text }: { title: string; text: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return (
    <Button size="small" onClick={() => void copy()}>
      {done ? <CheckIcon /> : <Copy />} <span aria-live="polite">{done ? "Copied" : title}</span>
    </Button>
  );
}

function Copies({ analysis, model }: { analysis: Analysis; model: string | null }) {
  const withKey = useAccess((s) => s.needed);
  const origin = window.location.origin;
  return (
    <div role="group" aria-label="Copy this request" className="flex flex-wrap items-center gap-2">
      <span className="text-sm text-muted">Copy as</span>
      <CopyButton title="curl" text={curlOf(origin, analysis.text, model, withKey)} />
      <CopyButton title="Python" text={pythonOf(origin, analysis.text, model, withKey)} />
      <CopyButton title="JSON" text={JSON.stringify(analysis.predictions, null, 2)} />
    </div>
  );
}

function ModelChoice({ chosen, onChange }: { chosen: string[]; onChange: (models: string[]) => void }) {
  const models = useQuery(modelsQuery);
  const served = models.data?.served ?? [];
  if (served.length < 2) return null;
  return (
    <fieldset className="flex flex-wrap gap-x-5 gap-y-1">
      <legend className="mb-1 text-xs font-medium text-muted">Models, side by side</legend>
      {served.map((model) => {
        const on = chosen.length === 0 ? model.default : chosen.includes(model.id);
        const current = chosen.length === 0 ? served.filter((m) => m.default).map((m) => m.id) : chosen;
        return (
          <Check
            key={model.id}
            label={model.id}
            checked={on}
            onChange={() => onChange(on ? current.filter((id) => id !== model.id) : [...current, model.id])}
          />
        );
      })}
    </fieldset>
  );
}

function History({ onPick }: { onPick: (a: Analysis) => void }) {
  const { analyses, clear } = useAnalyses();
  if (analyses.length === 0) return null;
  return (
    <Card
      title="This session"
      hint="Kept in this tab until it is closed."
      actions={
        <Button size="small" onClick={clear}>
          <Trash2 /> Clear
        </Button>
      }
    >
      <ul className="divide-y">
        {analyses.map((a) => (
          <li key={a.id}>
            <button type="button" onClick={() => onPick(a)} className="flex w-full flex-wrap items-center gap-x-4 gap-y-1 rounded-sm px-1 py-2 text-left text-sm hover:bg-raised">
              <span className="min-w-0 flex-1 basis-64 truncate">{a.text}</span>
              <ClassLabel name={a.predictions[0]?.label} />
              <span className="w-14 text-right tabular-nums">{signed(a.predictions[0]?.score)}</span>
              <span className="text-muted">
                <Time at={a.time} />
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}

export function Analyse() {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);
  const [shown, setShown] = useState<Analysis | null>(null);
  const add = useAnalyses((s) => s.add);
  const predict = useMutation({
    mutationFn: async (asked: string): Promise<Analysis> => {
      const models = chosen.length > 0 ? chosen : [null];
      const predictions = await Promise.all(models.map((model) => predictWith(asked, model)));
      return { id: crypto.randomUUID(), time: Date.now(), text: asked, predictions };
    },
    onSuccess: (analysis) => {
      setShown(analysis);
      add(analysis);
    },
  });
  const run = (asked: string) => asked.trim() !== "" && predict.mutate(asked);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    run(text);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(text);
  };
  return (
    <>
      <PageHead title="Analyse" hint="What a text says about the market, and which words say it." />
      <Card>
        <form onSubmit={submit} className="space-y-3">
          <Field label="Text" hint="Ctrl+Enter analyses.">
            <Textarea value={text} onChange={(e) => setText(e.target.value)} onKeyDown={onKey} placeholder="Paste a tweet or a headline" maxLength={20000} />
          </Field>
          <ModelChoice chosen={chosen} onChange={setChosen} />
          <div className="flex flex-wrap items-center gap-2">
            <Button type="submit" look="solid" disabled={text.trim() === "" || predict.isPending}>
              <Send /> {predict.isPending ? "Analysing…" : "Analyse"}
            </Button>
            {examples.map((example) => (
              <Button
                key={example}
                size="small"
                look="ghost"
                className="max-w-full text-muted"
                onClick={() => {
                  setText(example);
                  run(example);
                }}
              >
                <span className="truncate">{example}</span>
              </Button>
            ))}
          </div>
        </form>
      </Card>
      {predict.error && <Failure error={predict.error} onRetry={() => run(text)} />}
      <section aria-label="Results" aria-live="polite" className="space-y-3">
        {predict.isPending && shown === null && <Loading label="Analysing" className="h-64" />}
        {shown !== null && (
          <>
            <div className={shown.predictions.length > 1 ? "grid gap-4 xl:grid-cols-2" : ""}>
              {shown.predictions.map((prediction) => (
                <Result key={prediction.model} text={shown.text} prediction={prediction} />
              ))}
            </div>
            <Copies analysis={shown} model={shown.predictions.length === 1 && chosen.length === 1 ? chosen[0]! : null} />
          </>
        )}
        {shown === null && !predict.isPending && !predict.error && (
          <Empty title="Nothing analysed yet">Type a text, paste one, or take an example.</Empty>
        )}
      </section>
      <History
        onPick={(a) => {
          setText(a.text);
          setShown(a);
        }}
      />
    </>
  );
}
