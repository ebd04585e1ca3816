import { download } from "@/lib/download";

/** On the ground of the page: a transparent picture is unreadable in half of all places it is pasted into. */
export function savePng(canvas: HTMLCanvasElement, name: string): void {
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  const context = copy.getContext("2d");
  if (context === null) return;
  context.fillStyle = `rgb(${getComputedStyle(document.documentElement).getPropertyValue("--surface").trim().split(" ").join(",")})`;
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  copy.toBlob((blob) => blob !== null && download(name, blob), "image/png");
}
