import type { Metadata } from "next";

import { Labels } from "@/components/labels/labels";

export const metadata: Metadata = { title: "Labels" };

export default function Page() {
  return <Labels />;
}
