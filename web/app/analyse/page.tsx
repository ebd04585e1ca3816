import type { Metadata } from "next";

import { Analyse } from "@/components/analyse/analyse";

export const metadata: Metadata = { title: "Analyse" };

export default function Page() {
  return <Analyse />;
}
