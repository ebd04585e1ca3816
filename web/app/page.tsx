import { Analyse } from "@/components/analyse/analyse";

export default function Page() {
  return <Analyse />;
}
