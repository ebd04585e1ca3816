"use client";

import { useSearchParams } from "next/navigation";
import { useCallback } from "react";

/** Filters live in the address, so that a view can be shared and comes back after a reload. A preset value is left out of it. */
export function useUrlState<T extends Record<string, string>>(presets: T): [T, (change: Partial<T>) => void] {
  const params = useSearchParams();
  const state = Object.fromEntries(Object.entries(presets).map(([key, preset]) => [key, params.get(key) ?? preset])) as T;

  const change = useCallback(
    (next: Partial<T>) => {
      const now = new URLSearchParams(window.location.search);
      for (const [key, value] of Object.entries(next)) {
        if (value === undefined || value === presets[key]) now.delete(key);
        else now.set(key, value as string);
      }
      const query = now.toString();
      window.history.replaceState(null, "", query === "" ? window.location.pathname : `?${query}`);
    },
    // presets are constants of the pages
    [],
  );
  return [state, change];
}
