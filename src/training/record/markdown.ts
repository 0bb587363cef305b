/** Text of a user as Markdown shows it: as it is, in one line; nothing in it is markup, a link, or HTML. */
export function markdownText(text: string, longest = 2000): string {
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return cut
    .toWellFormed()
    .replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu, "")
    .replace(/[\\`*_{}[\]()#+\-.!|~:@$^=]/g, "\\$&")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replace(/\s*\n\s*/g, "<br>");
}

/** A table; its cells are Markdown. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}
