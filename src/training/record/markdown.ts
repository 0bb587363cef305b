/**
 * Text of a user as Markdown shows it within a line: as it is, lines joined by breaks; nothing in it is markup, a link, a
 * mention, or HTML.
 */
export function markdownText(text: string, longest = 2000): string {
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return (
    cut
      .toWellFormed()
      .replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu, "")
      .replace(/[\\`*_{}[\]()#!|~:@$^]/g, "\\$&")
      // What GitHub makes a link of without any sign.
      .replace(/\b(www)\./gi, "$1\\.")
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replace(/\s*\n\s*/g, "<br>")
  );
}

/** A table; its cells are Markdown. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}
