"use client";

import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { Loaded } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Progress } from "@/components/ui/progress";
import { Table } from "@/components/ui/table";
import type { Schemas } from "@/lib/api/client";
import { labelJobsQuery } from "@/lib/api/queries";
import { classBackground, classes, classTitle } from "@/lib/classes";
import { count, duration, fixed, percent } from "@/lib/format";
import { number } from "@/lib/read";

type Job = Schemas["LabelJob"];
export type Sample = { time: number; settled: number };
const samplesKept = 16;

export const settledOf = (job: Job) => job.labelled + job.unlabelled;

/** Texts a second over the samples kept; null until two of them differ in time, or where a job began anew. */
export function rateOf(samples: Sample[]): number | null {
  const [first, last] = [samples[0], samples[samples.length - 1]];
  if (first === undefined || last === undefined || last.time <= first.time || last.settled < first.settled) return null;
  return ((last.settled - first.settled) * 1000) / (last.time - first.time);
}

/** The rate of each job, from what the last answers said. */
function useRates(jobs: Job[], updatedAt: number): Map<string, number | null> {
  const samples = useRef(new Map<string, Sample[]>());
  const [rates, setRates] = useState(new Map<string, number | null>());
  useEffect(() => {
    for (const job of jobs) {
      const kept = samples.current.get(job.job) ?? [];
      if (kept[kept.length - 1]?.time !== updatedAt) samples.current.set(job.job, [...kept, { time: updatedAt, settled: settledOf(job) }].slice(-samplesKept));
    }
    setRates(new Map(jobs.map((job) => [job.job, job.state === "running" ? rateOf(samples.current.get(job.job) ?? []) : null])));
  }, [jobs, updatedAt]);
  return rates;
}

function Shares({ job }: { job: Job }) {
  const shares = classes.map((name) => ({ name, share: (number(job.classes, name) ?? 0) / Math.max(1, job.labelled) }));
  const said = shares.map(({ name, share }) => `${classTitle(name)} ${percent(share, 0)}`).join(", ");
  return (
    <div role="img" aria-label={said} title={said} className="flex h-3 w-32 overflow-hidden rounded-sm bg-raised">
      {shares.map(({ name, share }) => (
        <span key={name} className={classBackground(name)} style={{ width: `${share * 100}%` }} />
      ))}
    </div>
  );
}

const tones = { running: "accent", done: "good", stopped: "danger" } as const;

function Jobs({ jobs, updatedAt, chosen, onChoose }: { jobs: Job[]; updatedAt: number; chosen: string; onChoose: (job: string) => void }) {
  const rates = useRates(jobs, updatedAt);
  return (
    <Table
      name="Labelling jobs"
      rows={jobs}
      keyOf={(job) => job.job}
      height={320}
      columns={[
        { name: "Job", show: (j) => <code>{j.job}</code> },
        { name: "State", show: (j) => <Badge tone={tones[j.state as keyof typeof tones]}>{j.state}</Badge> },
        {
          name: "Progress",
          className: "min-w-40",
          show: (j) => (
            <>
              <Progress value={settledOf(j) / Math.max(1, j.texts)} label={`Progress of ${j.job}`} />
              <span className="text-xs text-muted">
                {count(j.labelled)} of {count(j.texts)} labelled{j.unlabelled > 0 && `, ${count(j.unlabelled)} set aside`}
              </span>
            </>
          ),
        },
        {
          name: "Rate",
          numeric: true,
          show: (j) => {
            const rate = rates.get(j.job) ?? null;
            if (rate === null || rate === 0) return "–";
            return (
              <>
                {fixed(rate, 1)} texts/s
                <span className="block text-xs text-muted">{duration((j.texts - settledOf(j)) / rate)} left</span>
              </>
            );
          },
        },
        { name: "Classes", show: (j) => <Shares job={j} /> },
        {
          name: "Requests",
          numeric: true,
          show: (j) => (
            <>
              {count(j.requests)}
              <span className="block whitespace-nowrap text-xs text-muted">
                {count(j.failed_requests)} failed, {count(j.rate_limited)} × 429
              </span>
            </>
          ),
        },
        {
          name: "Cost",
          numeric: true,
          show: (j) => (
            <>
              ${fixed(j.cost_usd, 4)}
              {j.labelled > 0 && <span className="block whitespace-nowrap text-xs text-muted">${fixed((j.cost_usd / j.labelled) * 1000, 3)} a thousand</span>}
            </>
          ),
        },
        { name: "Model", show: (j) => j.model },
        { name: "Begun", show: (j) => <Time at={j.created} /> },
        {
          name: "Review",
          quiet: true,
          show: (j) => (
            <Button size="small" disabled={chosen === j.job} onClick={() => onChoose(j.job)} aria-label={`Review ${j.job}`}>
              Review
            </Button>
          ),
        },
      ]}
    />
  );
}

/** The labelling jobs of the store, kept up to date while one runs. */
export function LabelJobs({ chosen, onChoose }: { chosen: string; onChoose: (job: string) => void }) {
  const jobs = useQuery(labelJobsQuery);
  return (
    <Card title="Jobs" hint="What finch label does and did: progress, rate, classes as they come, cost.">
      <Loaded query={jobs} label="Jobs are being asked for">
        {(data) =>
          data.jobs.length === 0 ? (
            <p className="text-sm text-muted">None yet.</p>
          ) : (
            <Jobs jobs={data.jobs} updatedAt={jobs.dataUpdatedAt} chosen={chosen} onChoose={onChoose} />
          )
        }
      </Loaded>
    </Card>
  );
}
