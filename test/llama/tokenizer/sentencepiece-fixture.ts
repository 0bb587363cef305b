import { pieceTypes } from "../../../src/llama/tokenizer/sentencepiece-model.ts";

export interface FixturePiece {
  readonly text: string;
  readonly score?: number;
  readonly type?: number;
}

export interface FixtureOptions {
  readonly modelType?: number;
  readonly byteFallback?: boolean;
  readonly addDummyPrefix?: boolean;
  readonly removeExtraWhitespaces?: boolean;
  readonly charsmap?: string;
  readonly normalizer?: string;
}

/** <unk>, <s>, </s>, the 256 bytes (from id 3), then `words` with falling scores (from id 259). */
export function usualPieces(words: readonly string[], more: readonly FixturePiece[] = []): FixturePiece[] {
  return [
    { text: "<unk>", type: pieceTypes.unknown },
    { text: "<s>", type: pieceTypes.control },
    { text: "</s>", type: pieceTypes.control },
    ...Array.from({ length: 256 }, (_, byte) => ({
      text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
      type: pieceTypes.byte,
    })),
    ...words.map((text, i) => ({ text, score: -i })),
    ...more,
  ];
}

/** The bytes of a tokenizer.model. */
export function modelFile(pieces: readonly FixturePiece[], options: FixtureOptions = {}): Uint8Array {
  const trainer = message([
    integer(3, options.modelType ?? 2),
    integer(35, (options.byteFallback ?? true) ? 1 : 0),
    integer(40, 0),
  ]);
  const normalizer = message([
    bytes(1, Buffer.from(options.normalizer ?? "identity")),
    bytes(2, Buffer.from(options.charsmap ?? "")),
    integer(3, (options.addDummyPrefix ?? true) ? 1 : 0),
    integer(4, options.removeExtraWhitespaces ? 1 : 0),
  ]);
  const written = pieces.map(({ text, score = 0, type = pieceTypes.normal }) =>
    bytes(1, message([bytes(1, Buffer.from(text)), float(2, score), integer(3, type)])),
  );
  return message([...written, bytes(2, trainer), bytes(3, normalizer)]);
}

export function integer(field: number, value: number): Uint8Array {
  return message([varint(field * 8), varint(value)]);
}

export function bytes(field: number, value: Uint8Array): Uint8Array {
  return message([varint(field * 8 + 2), varint(value.length), value]);
}

function float(field: number, value: number): Uint8Array {
  const four = Buffer.alloc(4);
  four.writeFloatLE(value);
  return message([varint(field * 8 + 5), four]);
}

function varint(value: number): Uint8Array {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    out.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) return Uint8Array.from(out);
  }
}

function message(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
