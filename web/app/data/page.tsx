import type { Metadata } from "next";

import { Data } from "@/components/data/data";

export const metadata: Metadata = { title: "Data" };

export default function Page() {
  return <Data />;
}
