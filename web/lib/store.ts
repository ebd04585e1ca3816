"use client";

import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";

import type { Prediction } from "@/lib/api/client";

export type Theme = "system" | "light" | "dark";

/** What stays on this device between visits. No key: the server keeps that behind a cookie that scripts can't read. */
export const usePreferences = create<{ theme: Theme; reviewer: string; setTheme: (t: Theme) => void; setReviewer: (r: string) => void }>()(
  persist(
    (set) => ({
      theme: "system",
      reviewer: "",
      setTheme: (theme) => set({ theme }),
      setReviewer: (reviewer) => set({ reviewer }),
    }),
    { name: "finch-preferences", skipHydration: true },
  ),
);

/** Whether a request was refused for want of a key; then the sign-in is shown. */
export const useAccess = create<{ needed: boolean; asked: boolean; set: (s: { needed?: boolean; asked?: boolean }) => void }>()((set) => ({
  needed: false,
  asked: false,
  set: (s) => set(s),
}));

export type Analysis = { id: string; time: number; text: string; predictions: Prediction[] };
const analysesKept = 50;

/** Of this tab, until it is closed. */
export const useAnalyses = create<{ analyses: Analysis[]; add: (a: Analysis) => void; clear: () => void }>()(
  persist(
    (set) => ({
      analyses: [],
      add: (a) => set((s) => ({ analyses: [a, ...s.analyses.filter((b) => b.text !== a.text)].slice(0, analysesKept) })),
      clear: () => set({ analyses: [] }),
    }),
    { name: "finch-analyses", storage: createJSONStorage(() => sessionStorage), skipHydration: true },
  ),
);
