import { inspect } from "node:util";

/** A shorter text would be found in the middle of ordinary words; it protects nothing anyway. */
export const shortest = 4;
/** Longer ones are looked for in parts: a text that is cut may end in any of them. In UTF-16 units. */
const longestForm = 32;

/**
 * What a secret looks like in text: itself, each of its lines, and both in the usual encodings. Each of 4 to 32 characters,
 * some of them several times.
 */
export function secretForms(secret: string): string[] {
  const forms: string[] = [];
  for (const text of new Set([secret, ...secret.split(/\r\n|[\n\r]/)])) {
    if (text.length < shortest) continue;
    for (const form of new Set(encodings(text))) if (form.length >= shortest) addParts(form, forms);
  }
  return forms;
}

function encodings(text: string): string[] {
  const bytes = Buffer.from(text);
  const forms = [text, bytes.toString("hex")];
  for (const encoded of [0, 1, 2].map((offset) => base64Inside(bytes, offset))) {
    forms.push(encoded, encoded.replaceAll("+", "-").replaceAll("/", "_"));
  }
  // Such a text is the same in the others.
  if (/^[\w.-]*$/.test(text)) return forms;
  const plain = text.replace(/\p{Surrogate}/gu, "\ufffd");
  forms.push(plain, JSON.stringify(text).slice(1, -1), inspect(text).slice(1, -1));
  forms.push(encodeURI(plain), encodeURIComponent(plain), new URLSearchParams([["", plain]]).toString().slice(1));
  return forms;
}

/** The characters that stand for `bytes` alone where `offset` bytes (modulo 3) of something else come first. */
function base64Inside(bytes: Buffer, offset: number): string {
  const encoded = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
  const end = Math.floor(((offset + bytes.length) * 8) / 6);
  return encoded.slice(Math.ceil((offset * 8) / 6), end);
}

function addParts(form: string, forms: string[]): void {
  for (let start = 0; start + longestForm <= form.length; start += longestForm) {
    forms.push(form.slice(start, start + longestForm));
  }
  // The last one overlaps the one before.
  if (form.length % longestForm !== 0) forms.push(form.slice(-longestForm));
}
