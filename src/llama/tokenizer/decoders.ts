import { runNow } from "../time-slices.ts";
import type { AddedTokens } from "./added-tokens.ts";
import { bytesOfPiece } from "./byte-spelling.ts";
import type { Detokenization, Surface } from "./detokenizer.ts";
import { replacing, textOf } from "./normalizers.ts";
import { automatonFor } from "./pattern/automatons.ts";
import { flatParts, patternOf } from "./pre-tokenizers.ts";
import { spaceMark } from "./space-marks.ts";
import { type Part, type TokenizerJson, unsupported } from "./tokenizer-json.ts";

type Change = (surface: Surface) => Surface;

/** What a decoder does with single tokens, and with the text that they make. */
interface Decoding {
  readonly changes: Change[];
  isFused: boolean;
  /** The joined text loses one space in front. */
  dropsSpace: boolean;
  /** The first token loses its space marks. */
  dropsMarks: boolean;
}

/**
 * The rules by which ids become text. Throws TOKENIZER_UNSUPPORTED naming a decoder or a setting that is not
 * implemented: one that would have to see the end of a text before it shows the beginning, too.
 */
export function readDecoder(json: TokenizerJson, added: AddedTokens): Detokenization {
  const { pieces, decoder, file } = json;
  const decoding: Decoding = { changes: [], isFused: false, dropsSpace: false, dropsMarks: false };
  for (const part of flatParts(decoder, "decoders", file)) add(part, decoding, file);
  const { changes } = decoding;
  const surfaces: (Surface | undefined)[] = new Array(pieces.length);
  const shown = (id: number): string | null => (added.isSpecial(id) ? null : (pieces[id] ?? null));
  const surface = (id: number): Surface => {
    const known = surfaces[id];
    if (known !== undefined) return known;
    let made: Surface = shown(id);
    for (const change of changes) made = change(made);
    if (id >= 0 && id < pieces.length) surfaces[id] = made;
    return made;
  };
  return {
    surface,
    firstSurface: (id) => {
      if (!decoding.dropsMarks) return surface(id);
      return changes.reduce((made: Surface, change) => change(made), shown(id)?.replaceAll(spaceMark, "") ?? null);
    },
    beginsWithSpaceMark: () => false,
    leadingSpace: decoding.dropsSpace ? "text" : "none",
    // Without a decoder the library joins tokens by spaces.
    separator: decoder === null ? " " : "",
    // ByteFallback replaces a whole run of bytes that has one broken character in it, which no stream can do.
    replacement: flatParts(decoder, "decoders", file).some((part) => part.type === "ByteLevel") ? "subpart" : "byte",
    hiddenEndsRun: false,
  };
}

function add(part: Part, decoding: Decoding, file: string): void {
  const { changes } = decoding;
  const onText = (change: (text: string) => string) =>
    changes.push((surface) => (typeof surface === "string" ? change(surface) : surface));
  switch (part.type) {
    case "ByteLevel":
      changes.push((surface) => (typeof surface === "string" ? bytesOfPiece(surface) : surface));
      return;
    case "ByteFallback":
      changes.push((surface) => (typeof surface === "string" ? byteOf(surface) : surface));
      return;
    case "Fuse":
      decoding.isFused = true;
      return;
    case "Metaspace":
      if (decoding.isFused) unsupported(file, 'decoder "Metaspace" after "Fuse"');
      decoding.dropsMarks ||= part.prepend_scheme !== "never" && part.add_prefix_space !== false;
      onText((text) => text.replaceAll(spaceMark, " "));
      return;
    case "Replace": {
      const { String: text } = (part.pattern ?? {}) as { String?: unknown };
      const content = textOf(part, "content", file);
      if (decoding.isFused && !(typeof text === "string" && text.length === 1)) {
        unsupported(file, 'decoder "Replace" after "Fuse"');
      }
      const automaton = automatonFor(patternOf(part, file), file);
      onText((whole) => runNow(replacing(whole, automaton, content)));
      return;
    }
    case "Strip":
      strip(part, decoding, file);
      return;
    default:
      unsupported(file, `decoder "${part.type}"`);
  }
}

function strip(part: Part, decoding: Decoding, file: string): void {
  const { start = 0, stop = 0 } = part;
  const content = textOf(part, "content", file) || unsupported(file, 'decoder "Strip" without "content"');
  if (decoding.isFused) {
    if (content !== " " || stop !== 0 || (start !== 0 && start !== 1)) {
      unsupported(file, `decoder "Strip" of ${JSON.stringify({ content, start, stop })}`);
    }
    decoding.dropsSpace ||= start === 1;
    return;
  }
  const most = (count: unknown) => (Number.isInteger(count) && (count as number) >= 0 ? (count as number) : 0);
  const [before, behind] = [most(start), most(stop)];
  decoding.changes.push((surface) => {
    if (typeof surface !== "string") return surface;
    let [from, to] = [0, surface.length];
    while (from / content.length < before && surface.startsWith(content, from)) from += content.length;
    while ((surface.length - to) / content.length < behind && to > from && surface.endsWith(content, to))
      to -= content.length;
    return surface.slice(from, to);
  });
}

/** "<0x0A>" is that byte. */
function byteOf(piece: string): Surface {
  const digits = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1];
  return digits === undefined ? piece : Uint8Array.of(Number.parseInt(digits, 16));
}
