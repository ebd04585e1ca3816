import { tokenColour } from "@/components/charts/colour";
import { classTitle } from "@/lib/classes";
import { count } from "@/lib/format";

const cell = { width: 150, height: 60 };
const margin = { left: 170, top: 80, end: 16 };

/** The confusion matrix drawn as the page shows it, for the export. */
export function matrixPicture(name: string, { labels, matrix }: { labels: string[]; matrix: number[][] }): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = margin.left + labels.length * cell.width + margin.end;
  canvas.height = margin.top + labels.length * cell.height + margin.end;
  const draw = canvas.getContext("2d");
  if (draw === null) return canvas;
  const write = (text: string, x: number, y: number, font: string, align: CanvasTextAlign) => {
    draw.font = `${font} Inter Variable, system-ui, sans-serif`;
    draw.textAlign = align;
    draw.fillText(text, x, y);
  };
  draw.textBaseline = "middle";
  draw.fillStyle = tokenColour("ink");
  write(name, margin.end, 24, "600 18px", "left");
  write("true ↓ said →", margin.end, margin.top - 20, "13px", "left");
  labels.forEach((label, i) => {
    write(classTitle(label), margin.left + (i + 0.5) * cell.width, margin.top - 20, "13px", "center");
    write(classTitle(label), margin.end, margin.top + (i + 0.5) * cell.height, "13px", "left");
  });
  matrix.forEach((row, i) => {
    const total = Math.max(1, row.reduce((a, b) => a + b, 0));
    row.forEach((n, j) => {
      const [x, y] = [margin.left + j * cell.width, margin.top + i * cell.height];
      draw.fillStyle = tokenColour("class-3", (0.5 * n) / total);
      draw.fillRect(x + 1, y + 1, cell.width - 2, cell.height - 2);
      draw.fillStyle = tokenColour("ink");
      write(count(n), x + cell.width / 2, y + cell.height / 2, "16px", "center");
    });
  });
  return canvas;
}
