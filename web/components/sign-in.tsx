"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";

import { Failure } from "@/components/states";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input } from "@/components/ui/fields";
import { ApiError, api, call } from "@/lib/api/client";
import { useAccess } from "@/lib/store";

export function useSignOut(): () => void {
  const client = useQueryClient();
  const { mutate } = useMutation({
    mutationFn: () => call(api.DELETE("/api/v1/session")),
    onSettled: () => {
      client.clear();
      useAccess.getState().set({ needed: true, asked: true });
    },
  });
  return () => mutate();
}

/** The key is sent once; what comes back is a cookie that no script can read. Nothing of it stays in the page. */
export function SignIn() {
  const { asked, set } = useAccess();
  const client = useQueryClient();
  const [key, setKey] = useState("");
  const open = useMutation({
    mutationFn: (given: string) => call(api.POST("/api/v1/session", { headers: { Authorization: `Bearer ${given.trim()}` } })),
    onSuccess: (session) => {
      setKey("");
      set({ asked: false, needed: typeof session.key === "string" });
      void client.invalidateQueries();
    },
    onError: () => undefined,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key.trim() !== "") open.mutate(key);
  };
  const refused = open.error instanceof ApiError && open.error.status === 401;
  return (
    <Dialog open={asked} title="Sign in with an API key" onClose={() => set({ asked: false })}>
      <form onSubmit={submit} className="space-y-4">
        <Field label="API key" hint="finch keys create prints one. It is turned into a cookie of this browser that scripts can't read.">
          <Input type="password" autoComplete="off" spellCheck={false} autoFocus value={key} onChange={(e) => setKey(e.target.value)} placeholder="finch_…" />
        </Field>
        {refused && (
          <p role="alert" className="text-sm text-danger">
            {open.error?.message}
          </p>
        )}
        {open.error && !refused && <Failure error={open.error} />}
        <Button type="submit" look="solid" disabled={open.isPending || key.trim() === ""}>
          {open.isPending ? "Signing in…" : "Sign in"}
        </Button>
      </form>
    </Dialog>
  );
}
