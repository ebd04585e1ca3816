import type { Metadata } from "next";

import { Batches } from "@/components/batches/batches";

export const metadata: Metadata = { title: "Batches" };

export default function Page() {
  return <Batches />;
}
