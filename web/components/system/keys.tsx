"use client";

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useState, type FormEvent } from "react";

import { Failure, Loaded } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Dialog } from "@/components/ui/dialog";
import { Check, Field, Input } from "@/components/ui/fields";
import { Table } from "@/components/ui/table";
import { api, call, type Schemas } from "@/lib/api/client";
import { keysQuery } from "@/lib/api/queries";
import { list, text } from "@/lib/read";

const scopes = ["read", "predict", "admin"] as const;
type Scope = (typeof scopes)[number];

function NewKey({ open, onClose }: { open: boolean; onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<Scope[]>(["read", "predict"]);
  const [expires, setExpires] = useState("");
  const make = useMutation({
    mutationFn: (body: Schemas["KeyRequest"]) => call(api.POST("/api/v1/keys", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["keys"] }),
  });
  const close = () => {
    make.reset();
    setName("");
    onClose();
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    make.mutate({ name: name.trim(), scopes: chosen, expires: expires === "" ? null : expires });
  };
  const toggle = (scope: Scope) => setChosen((all) => (all.includes(scope) ? all.filter((s) => s !== scope) : [...all, scope]));
  return (
    <Dialog open={open} title="New API key" onClose={close}>
      {make.data ? (
        <div className="space-y-3 text-sm">
          <p>This is the key. It is shown now and never again:</p>
          <code className="block select-all break-all rounded-md border bg-raised p-3">{make.data.key}</code>
          <Button look="solid" onClick={close}>
            I have kept it
          </Button>
        </div>
      ) : (
        <form onSubmit={submit} className="space-y-4">
          <Field label="Name">
            <Input value={name} onChange={(e) => setName(e.target.value)} maxLength={80} autoFocus required />
          </Field>
          <fieldset className="flex flex-wrap gap-4">
            <legend className="mb-1 text-xs font-medium text-muted">It may</legend>
            {scopes.map((scope) => (
              <Check key={scope} label={scope} checked={chosen.includes(scope)} onChange={() => toggle(scope)} />
            ))}
          </fieldset>
          <Field label="Good until" hint="Empty: for ever.">
            <Input type="date" value={expires} onChange={(e) => setExpires(e.target.value)} />
          </Field>
          {make.error && <Failure error={make.error} />}
          <Button type="submit" look="solid" disabled={make.isPending || chosen.length === 0}>
            Make the key
          </Button>
        </form>
      )}
    </Dialog>
  );
}

const tones = { active: "good", expired: "warn", revoked: "danger" } as const;

export function Keys() {
  const client = useQueryClient();
  const keys = useQuery(keysQuery);
  const [making, setMaking] = useState(false);
  const [leaving, setLeaving] = useState<string | null>(null);
  const revoke = useMutation({
    mutationFn: (id: string) => call(api.DELETE("/api/v1/keys/{id}", { params: { path: { id } } })),
    onSettled: () => {
      setLeaving(null);
      void client.invalidateQueries({ queryKey: ["keys"] });
    },
  });
  return (
    <Card
      title="API keys"
      hint="For admins. Once there is a key, every request needs one."
      actions={
        <Button size="small" onClick={() => setMaking(true)} disabled={!keys.isSuccess}>
          <Plus /> New key
        </Button>
      }
    >
      {revoke.error && <Failure error={revoke.error} className="mb-3" />}
      <Loaded query={keys} label="Keys are being asked for">
        {(data) =>
          data.keys.length === 0 ? (
            <p className="text-sm text-muted">There is none: this server is open to all who reach it.</p>
          ) : (
            <Table
              name="API keys"
              rows={data.keys}
              keyOf={(key) => text(key, "id") ?? ""}
              height={300}
              columns={[
                { name: "Name", show: (k) => text(k, "name") },
                { name: "Scopes", show: (k) => list(k["scopes"]).join(", ") },
                { name: "State", show: (k) => <Badge tone={tones[text(k, "state") as keyof typeof tones] ?? "plain"}>{text(k, "state")}</Badge> },
                { name: "Last used", show: (k) => <Time at={text(k, "last_used")} /> },
                { name: "Expires", show: (k) => <Time at={text(k, "expires")} precise={false} /> },
                {
                  name: "Revoke",
                  quiet: true,
                  show: (k) =>
                    text(k, "revoked") === undefined && (
                      <Button size="small" look="danger" onClick={() => setLeaving(text(k, "id") ?? null)} aria-label={`Revoke ${text(k, "name")}`}>
                        Revoke
                      </Button>
                    ),
                },
              ]}
            />
          )
        }
      </Loaded>
      <NewKey open={making} onClose={() => setMaking(false)} />
      <Dialog open={leaving !== null} title="Revoke this key?" onClose={() => setLeaving(null)}>
        <p className="mb-4 text-sm">Whoever uses it is refused from now on. This can&apos;t be taken back.</p>
        <Button look="danger" disabled={revoke.isPending} onClick={() => leaving !== null && revoke.mutate(leaving)}>
          Revoke
        </Button>
      </Dialog>
    </Card>
  );
}
