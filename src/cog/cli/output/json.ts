/**
 * Indented JSON as the Go client prints it: two spaces, the keys of objects sorted by their bytes, and `<`, `>`, `&` and Unicode's two
 * line separators as escapes. Written by hand because an object of JavaScript puts keys made of digits first, whatever the order.
 */
export function indentedJson(value: unknown): string {
  return render(value, "", byBytes);
}

/** The same with the keys of the outermost object in the order they have. */
export function indentedRecord(record: Record<string, unknown>): string {
  return render(record, "", (keys) => keys);
}

type Order = (keys: string[]) => string[];

const byBytes: Order = (keys) => keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

function render(value: unknown, indent: string, order: Order): string {
  if (typeof value !== "object" || value === null) return scalar(value);
  const inner = `${indent}  `;
  const list = Array.isArray(value);
  const items = list
    ? value.map((item) => render(item, inner, byBytes))
    : order(Object.keys(value)).map(
        (key) => `${scalar(key)}: ${render((value as Record<string, unknown>)[key], inner, byBytes)}`,
      );
  const [open, close] = list ? "[]" : "{}";
  return items.length === 0 ? `${open}${close}` : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}

function scalar(value: unknown): string {
  if (Object.is(value, -0)) return "-0";
  return JSON.stringify(value ?? null).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
