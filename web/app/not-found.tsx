import { Empty } from "@/components/states";

export default function NotFound() {
  return <Empty title="There is no such page">The pages are in the list beside this text.</Empty>;
}
