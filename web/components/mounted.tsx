"use client";

import { useEffect, useState, type ReactNode } from "react";

/** Pages are drawn in the browser only: what they show (the address, the viewer's zone, the server's answers) is not known when the files
 * are built, and React refuses a page that differs from its file. */
export function Mounted({ children }: { children: ReactNode }) {
  const [mounted, setMounted] = useState(false);
  useEffect(() => setMounted(true), []);
  return mounted ? <>{children}</> : null;
}
