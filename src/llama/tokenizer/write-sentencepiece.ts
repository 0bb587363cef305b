import type { Piece, SentencePieceModel } from "./sentencepiece-model.ts";

/**
 * The bytes of a tokenizer.model (sentencepiece_model.proto): a BPE model with the identity normaliser.
 * @param splitDigits whether its trainer kept digits apart, of which only the file's readers may want to know
 */
export function sentencePieceBytes(model: SentencePieceModel, splitDigits = false): Uint8Array {
  const { pieces, unkId, bosId, eosId, byteFallback, addDummyPrefix } = model;
  const trainer = Buffer.concat([
    varintField(3, 2), // model_type: BPE
    varintField(4, pieces.length),
    ...(splitDigits ? [varintField(25, 1)] : []),
    varintField(35, byteFallback ? 1 : 0),
    varintField(40, unkId),
    varintField(41, bosId),
    varintField(42, eosId),
    varintField(43, -1), // pad_id
  ]);
  const normalizer = Buffer.concat([
    bytesField(1, Buffer.from("identity")),
    varintField(3, addDummyPrefix ? 1 : 0),
    varintField(4, 0), // remove_extra_whitespaces
    varintField(5, 1), // escape_whitespaces
  ]);
  return Buffer.concat([
    ...pieces.map((piece) => bytesField(1, pieceBytes(piece))),
    bytesField(2, trainer),
    bytesField(3, normalizer),
  ]);
}

function pieceBytes({ text, score, type }: Piece): Buffer {
  const float = Buffer.alloc(5);
  float[0] = (2 << 3) | 5;
  float.writeFloatLE(score, 1);
  return Buffer.concat([bytesField(1, Buffer.from(text)), float, varintField(3, type)]);
}

function bytesField(field: number, value: Buffer): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);
}

function varintField(field: number, value: number): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

/** Negative numbers take ten bytes: protobuf's int32 is sign-extended to 64 bits. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
