import { type Axis, axis, stepAxis } from "./axis.ts";
import { extremes, lasts, type Point, smoothed } from "./thinning.ts";

const width = 880;
const height = 420;
const plot = { left: 72, right: width - 36, top: 64, bottom: height - 56 };
/** Points drawn of each line: 2,000 together. */
const most = { raw: 1000, smooth: 500, validation: 500 };
/** Of fewer steps each one is a dot, and nothing is smoothed. */
const fewSteps = 40;

/**
 * A picture of a run's losses: those of the steps, faint where they are many and a smoothed line above them, and those of
 * the validation rows. It follows the reader's choice of light or dark, and has a ground of its own where a page has not.
 * @param title any text
 */
export function lossChart(title: string, training: readonly Point[], validation: readonly Point[]): string {
  const isFew = training.length < fewSteps;
  const smooth = isFew ? training : smoothed(training, Math.max(9, training.length / 25));
  const x = stepAxis(Math.max(training.at(-1)?.[0] ?? 1, validation.at(-1)?.[0] ?? 1));
  const y = lossAxis(isFew ? training : visible(training, smooth), validation);
  const at = ([step, loss]: Point) =>
    `${place(step, x, plot.left, plot.right)},${place(loss, y, plot.bottom, plot.top)}`;
  const line = (kind: string, points: readonly Point[]) =>
    points.length === 0 ? "" : `<polyline class="${kind}" points="${points.map(at).join(" ")}"/>\n`;
  const dots = (kind: string, points: readonly Point[]) =>
    points
      .map((point) => {
        const [cx, cy] = at(point).split(",");
        return `<circle class="${kind}" cx="${cx}" cy="${cy}" r="3"/>\n`;
      })
      .join("");
  const kept = lasts(validation, most.validation);
  const lines = isFew
    ? line("training", training) + dots("training-dot", training)
    : line("raw", extremes(training, most.raw)) + line("training", lasts(smooth, most.smooth));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">\n`,
    `<title>${escaped(title)}</title>\n<style>${style}</style>\n`,
    `<rect class="ground" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>\n`,
    `<text class="title" x="${plot.left}" y="30">${escaped(shortened(title))}</text>\n`,
    ...axes(x, y),
    `<clipPath id="plot"><rect x="${plot.left}" y="${plot.top - 2}" width="${plot.right - plot.left + 4}" `,
    `height="${plot.bottom - plot.top + 4}"/></clipPath>\n<g clip-path="url(#plot)">\n`,
    lines,
    line("validation", kept) + (kept.length < fewSteps ? dots("validation-dot", kept) : ""),
    "</g>\n",
    legend(isFew ? "training" : "training, smoothed", validation.length > 0),
    "</svg>\n",
  ].join("");
}

const style = `
.ground{fill:#fff;stroke:#d0d7de}
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#57606a}
.title{font-size:16px;font-weight:600;fill:#1f2328}
.grid{stroke:#d8dee4}
.axis{stroke:#8c959f}
polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.raw{stroke:#0969da;stroke-width:1;opacity:.3}
.training{stroke:#0969da}
.training-dot{fill:#0969da}
.validation{stroke:#bc4c00}
.validation-dot{fill:#bc4c00}
@media (prefers-color-scheme:dark){
.ground{fill:#0d1117;stroke:#30363d}
text{fill:#9da7b3}
.title{fill:#f0f6fc}
.grid{stroke:#262c36}
.axis{stroke:#656c76}
.raw,.training{stroke:#58a6ff}
.training-dot{fill:#58a6ff}
.validation{stroke:#f0883e}
.validation-dot{fill:#f0883e}
}
`;

/** Of the steps' losses those within the middle 98 % and the smoothed line: a few spikes do not flatten the rest. */
function visible(raw: readonly Point[], smooth: readonly Point[]): readonly Point[] {
  const sorted = Float64Array.from(raw, ([, loss]) => loss).sort();
  const share = (part: number): Point => [0, sorted[Math.round(part * (sorted.length - 1))]!];
  return [share(0.01), share(0.99), ...smooth];
}

function lossAxis(...lines: (readonly Point[])[]): Axis {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [, loss] of lines.flat()) {
    low = Math.min(low, loss);
    high = Math.max(high, loss);
  }
  if (low > high) [low, high] = [0, 1];
  // From zero where that costs little room.
  if (low > 0 && low < high / 3) low = 0;
  const least = Math.max(Math.abs(high) * 0.05, 1e-6);
  if (high - low < least) [low, high] = [low - least, high + least];
  return axis(low, high, 6, true);
}

function axes(x: Axis, y: Axis): string[] {
  const { left, right, top, bottom } = plot;
  return [
    ...y.ticks.map((tick) => {
      const at = place(tick, y, bottom, top);
      return (
        `<line class="grid" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/>` +
        `<text x="${left - 10}" y="${at}" dy="0.32em" text-anchor="end">${y.label(tick)}</text>\n`
      );
    }),
    ...x.ticks.map((tick) => {
      const at = place(tick, x, left, right);
      return (
        `<line class="axis" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}"/>` +
        `<text x="${at}" y="${bottom + 22}" text-anchor="middle">${x.label(tick)}</text>\n`
      );
    }),
    `<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>\n`,
    `<text x="${(left + right) / 2}" y="${bottom + 44}" text-anchor="middle">optimiser steps</text>\n`,
    `<text x="20" y="${(top + bottom) / 2}" text-anchor="middle" `,
    `transform="rotate(-90 20 ${(top + bottom) / 2})">loss (nats per token)</text>\n`,
  ];
}

function legend(training: string, hasValidation: boolean): string {
  const entry = (kind: string, label: string, x: number) =>
    `<line class="${kind}" stroke-width="3" x1="${x}" x2="${x + 22}" y1="48" y2="48"/>` +
    `<text x="${x + 30}" y="48" dy="0.32em">${label}</text>\n`;
  return (
    entry("training", training, plot.left) + (hasValidation ? entry("validation", "validation", plot.left + 190) : "")
  );
}

/** Where a value lies between two coordinates, to a tenth of a pixel. */
function place(value: number, { low, high }: Axis, from: number, to: number): number {
  return Math.round(10 * (from + ((value - low) / (high - low)) * (to - from))) / 10;
}

function shortened(title: string): string {
  return title.length > 90 ? `${title.slice(0, 89)}…` : title;
}

/** Text as XML has it; what XML cannot hold is left out. */
function escaped(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\ufffe\uffff]/gu, " ")
    .replace(/[&<>]/g, (character) => entities[character]!);
}
