import type { CharacterReport, MissingCharacters } from "./characters.ts";
import type { CutoffReport, DatasetReport } from "./dataset-report.ts";
import type { LengthReport } from "./lengths.ts";

/** Of a line. */
const columns = 80;
const indent = 2;
const nameWidth = 10;
/** Of fewer rows a picture says nothing. */
const rowsForPicture = 20;

/** The report for a terminal: a line for each thing that is worth one, 80 columns wide. */
export function reportLines(report: DatasetReport): string[] {
  const { rows, tokens, packing, steps, lengths } = report;
  const kept = rows.validation === 0 ? "" : `, ${count(rows.validation)} of the examples kept back to validate`;
  const of = rows.split === 0 ? "" : `; ${count(rows.split)} rows are one example for each answer`;
  const lines: [string, string][] = [
    ["rows", `${count(rows.total)}: ${count(rows.training)} examples to train on${kept}${of}`],
    ["tokens", `${count(tokens.total)} an epoch: ${count(tokens.learnt)} learnt, ${count(tokens.masked)} masked`],
    [
      "lengths",
      `${lengths.shortest} to ${count(lengths.longest)} tokens, median ${lengths.median}, 99 % within ${lengths.p99}`,
    ],
  ];
  const more: [string, string][] = [
    ...cutoffLines(report.cutoff, rows.total),
    ...rowLines(report),
    ...characterLines(report.characters),
    [
      "packing",
      `${packing.microBatchesPerStep.toFixed(1)} micro-batches a step, ${count(Math.round(packing.tokensPerMicroBatch))} of ` +
        `${count(packing.capacity)} tokens each (${percent(packing.filled)})`,
    ],
    ["steps", `${count(steps.total)}: ${count(steps.epochs)} epochs of ${count(steps.perEpoch)}`],
  ];
  const picture = rows.total < rowsForPicture ? [] : histogram(lengths);
  return [...lines.flatMap(entry), ...picture, ...more.flatMap(entry)];
}

function histogram({ bins }: LengthReport): string[] {
  const most = Math.max(...bins.map(({ rows }) => rows));
  const numbers = bins.map(({ from, to }) => `${from}-${to}`);
  const width = Math.max(...numbers.map(({ length }) => length));
  const counts = Math.max(...bins.map(({ rows }) => count(rows).length));
  const left = indent + nameWidth;
  const room = columns - left - width - counts - 4;
  return bins.map(({ rows }, i) => {
    const bar = "#".repeat(rows === 0 ? 0 : Math.max(1, Math.round((rows / most) * room)));
    return `${" ".repeat(left)}${numbers[i]!.padStart(width)}  ${count(rows).padStart(counts)}  ${bar}`.trimEnd();
  });
}

function cutoffLines(cutoff: CutoffReport, total: number): [string, string][] {
  const { cut, leftOut, firstLeftOut, lostAnswers } = cutoff;
  if (cut === 0) return [];
  const lines: [string, string][] = [["cut", cutText(cutoff, total)]];
  if (lostAnswers > leftOut) lines.push(["", `${count(lostAnswers)} answers of conversations are lost with them`]);
  if (leftOut > 0) lines.push(["left out", named(firstLeftOut, leftOut)]);
  return lines;
}

/** What becomes of rows that are longer than cutoff_len. */
export function cutText(cutoff: CutoffReport, total: number): string {
  const { cutoff_len, cut, leftOut } = cutoff;
  return (
    `${count(cut)} of ${count(total)} rows are longer than cutoff_len ${cutoff_len}: ${count(leftOut)} lose their whole ` +
    `answer and are left out, ${count(cut - leftOut)} lose its end; ${remedy(cutoff)}`
  );
}

/** Which cutoff_len holds rows whole, and which of them none can. */
export function remedy({ holds99, holdsAll, cut, beyondContext, context, cutoff_len }: CutoffReport): string {
  const longer = `${count(beyondContext)} are longer than the model's context of ${count(context)} tokens and have to be shortened`;
  if (holdsAll === null || holdsAll <= cutoff_len) return longer;
  const most =
    holds99 !== null && holds99 > cutoff_len && holds99 < holdsAll ? `cutoff_len=${holds99} holds 99 %, ` : "";
  const holds = `${most}cutoff_len=${holdsAll} holds`;
  return beyondContext === 0 ? `${holds} all of them` : `${holds} ${count(cut - beyondContext)} of them, ${longer}`;
}

function rowLines({ emptyAnswers, duplicates, endMarks, rows }: DatasetReport): [string, string][] {
  const of = `of ${count(rows.total)} rows`;
  const lines: [string, string][] = [];
  if (emptyAnswers > 0)
    lines.push(["empty", `${count(emptyAnswers)} ${of} have an empty answer: they teach to answer nothing`]);
  if (duplicates.rows > 0) {
    lines.push([
      "repeated",
      `${count(duplicates.rows)} ${of} are equal to an earlier one: ${named(duplicates.first, duplicates.rows)}`,
    ]);
  }
  const marks = endMarks.marks.join(", ");
  if (endMarks.ended > 0)
    lines.push(["marks", `${count(endMarks.ended)} ${of} spell the end of their answer (${marks}): taken as it`]);
  if (endMarks.inside > 0)
    lines.push([
      "marks",
      `${count(endMarks.inside)} ${of} hold an end mark (${marks}) inside a text, where it ${endMarks.insideAs === "text" ? "stays text" : "is the token"}`,
    ]);
  return lines;
}

function characterLines({ total, tokensPerCharacter, bytes, unknown }: CharacterReport): [string, string][] {
  const lines: [string, string][] = [
    ["text", `${count(total)} characters, ${tokensPerCharacter.toFixed(2)} tokens each`],
  ];
  if (bytes.characters > 0) {
    lines.push(["", `${missing(bytes)} no piece in this vocabulary and take several tokens each: ${shown(bytes)}`]);
  }
  if (unknown.characters > 0) {
    lines.push(["", `${missing(unknown)} no place in this vocabulary, the model cannot read them: ${shown(unknown)}`]);
  }
  return lines;
}

function missing({ share, characters, distinct }: MissingCharacters): string {
  return `${percent(share)} of them (${count(characters)}, ${count(distinct)} different) have`;
}

function shown({ most, distinct }: MissingCharacters): string {
  const texts = most.map(({ character, count: times }) => `${printable(character)} ${count(times)}`);
  return texts.join(", ") + (distinct > most.length ? ", ..." : "");
}

function printable(character: string): string {
  return /^[\p{C}\p{M}\p{Z}]$/u.test(character)
    ? `U+${character.codePointAt(0)!.toString(16).padStart(4, "0").toUpperCase()}`
    : character;
}

/** "data.json, record 1; data.json, record 7 and 12 more" */
function named(first: readonly string[], total: number): string {
  const more = total - first.length;
  return `${first.join("; ")}${more > 0 ? ` and ${count(more)} more` : ""}`;
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

/** "12 %", "0.3 %" */
function percent(share: number): string {
  const value = 100 * share;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value < 0.1 ? "below 0.1" : value.toFixed(1)} %`;
}

/** A name and what is said under it, on as many lines as it takes. */
export function entry([name, text]: readonly [string, string]): string[] {
  const width = columns - indent - nameWidth;
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each, i) => `${" ".repeat(indent)}${(i === 0 ? name : "").padEnd(nameWidth)}${each}`);
}
