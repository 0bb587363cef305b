/** SentencePiece's ModelProto (sentencepiece_model.proto), as LLaMA's tokenizer.model fills it in. */

const pieceType = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;

/**
 * The bytes of a tokenizer.model: ids 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then `pieces`. A piece's score is
 * minus its place, so that encoding merges in the order of training.
 */
export function sentencePieceModel(pieces: readonly string[]): Uint8Array {
  const entries = [
    piece("<unk>", 0, pieceType.unknown),
    piece("<s>", 0, pieceType.control),
    piece("</s>", 0, pieceType.control),
    ...Array.from({ length: 256 }, (_, byte) => {
      return piece(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, 0, pieceType.byte);
    }),
    ...pieces.map((text, place) => piece(text, -place, pieceType.normal)),
  ];
  const trainer = Buffer.concat([
    varintField(3, 2), // model_type: BPE
    varintField(4, entries.length),
    varintField(25, 1), // split_digits
    varintField(35, 1), // byte_fallback
    varintField(40, 0), // unk_id, bos_id, eos_id, pad_id
    varintField(41, 1),
    varintField(42, 2),
    varintField(43, -1),
  ]);
  const normalizer = Buffer.concat([
    bytesField(1, Buffer.from("identity")),
    varintField(3, 1), // add_dummy_prefix
    varintField(4, 0), // remove_extra_whitespaces
    varintField(5, 1), // escape_whitespaces
  ]);
  return Buffer.concat([
    ...entries.map((entry) => bytesField(1, entry)),
    bytesField(2, trainer),
    bytesField(3, normalizer),
  ]);
}

function piece(text: string, score: number, type: number): Buffer {
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
