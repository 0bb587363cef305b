// Controls of C0 (but tab and newline) and C1, the line ends of Unicode, and the marks that turn its direction around.
const controls = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** `text` without what moves a terminal's cursor, colours it, or looks like the end of a line: shown as in JSON. */
export function withoutControls(text: string): string {
  return text.replace(controls, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
