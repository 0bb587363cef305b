import { shortCount } from "../../checkpoint/describe.ts";
import { sizeText } from "../progress.ts";
import type { AdapterReport, ModelReport, NeedsReport, Report } from "./report.ts";

/** The report for a person, a line for each thing. */
export function reportText(report: Report): string {
  const types = Object.entries(report.types).sort(([, a], [, b]) => b - a);
  const lines = [
    `${report.kind}: ${report.path}`,
    line("state", report.state),
    ...report.problems.map((problem) => line("note", problem)),
    line(
      "tensors",
      `${report.tensors} (${types.map(([name, count]) => `${count} ${name}`).join(", ")}), ${sizeText(report.bytes)}`,
    ),
    ...(report.model ? modelLines(report.model) : []),
    ...(report.adapter ? adapterLines(report.adapter) : []),
    ...(report.needs ? needsLines(report.needs) : []),
  ];
  return `${lines.join("\n")}\n`;
}

function line(label: string, text: string): string {
  return `  ${label.padEnd(14)} ${text}`;
}

function modelLines(model: ModelReport): string[] {
  const { tokenizer, chatTemplate } = model;
  const number = (value: number) => value.toLocaleString("en-US");
  const heads = `${model.heads} heads, ${model.kvHeads} of keys and values, of ${model.headDim}`;
  return [
    ...(model.name === "" ? [] : [line("name", model.name)]),
    line("parameters", `${shortCount(model.parameters)} (${number(model.parameters)})`),
    line(
      "shape",
      `${model.architecture}, ${model.layers} layers, ${number(model.hiddenSize)} wide, ${number(model.intermediateSize)} between, ${heads}`,
    ),
    line("vocabulary", `${number(model.vocabulary)}${model.tiedHead ? ", the head is the embedding" : ""}`),
    line("context", `${number(model.context)} tokens`),
    ...(tokenizer === null
      ? []
      : [
          line(
            "tokenizer",
            `${tokenizer.kind} of ${number(tokenizer.pieces)} pieces, begins with ${tokenizer.bos ?? "nothing"}, ends at ${tokenizer.ends.join(", ")}`,
          ),
          line("chat template", chatTemplate === null ? "none" : `its own, ${number(chatTemplate)} characters`),
        ]),
  ];
}

function adapterLines(adapter: AdapterReport): string[] {
  const short = (value: number) => Number(value.toPrecision(4)).toString();
  return [
    line("base", adapter.base ?? "nothing says"),
    line("template", adapter.template ?? "nothing says"),
    line("parameters", `${shortCount(adapter.parameters)}, rank ${adapter.ranks.join(", ")}`),
    ...table(
      ["modules", "count", "rank", "scale", "|A|", "|B|", "|scale B A|"],
      adapter.modules.map(({ name, count, ranks, scales: [least, most], a, b, product }) => [
        name,
        String(count),
        ranks.join(", "),
        least === most ? short(least) : `${short(least)} to ${short(most)}`,
        ...[a, b, product].map(short),
      ]),
    ),
  ];
}

function needsLines(needs: NeedsReport): string[] {
  return [
    line("cache", `${sizeText(needs.cachePerToken)} a token, ${sizeText(needs.cacheOfContext)} for a whole context`),
    ...table(
      ["quantisation", "weights", "to serve", "to train", "with activations computed again"],
      needs.byQuantization.map(({ quantization, weights, serve, train, trainCheckpointed }) => [
        quantization,
        ...[weights, serve, train, trainCheckpointed].map(sizeText),
      ]),
    ),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const cells = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!))).join("  ");
  return [head, ...rows].map((row) => `  ${cells(row)}`);
}
