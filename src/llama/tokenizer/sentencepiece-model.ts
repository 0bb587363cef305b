import { CodedError } from "../../errors/index.ts";
import type { Steps } from "../time-slices.ts";
import { type WireField, wireFields } from "./wire-reader.ts";

/** sentencepiece_model.proto, ModelProto.SentencePiece.Type. */
export const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Piece {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

/** What encoding and decoding need of a SentencePiece model file. */
export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  readonly byteFallback: boolean;
  readonly unkId: number;
  /** -1: the model has none. */
  readonly bosId: number;
  readonly eosId: number;
  readonly unkSurface: string;
  readonly addDummyPrefix: boolean;
}

/** No merge table would be reasonable past these; published vocabularies stay far below. */
const maxPieces = 2 ** 20;
const maxPieceBytes = 1024;

/**
 * Reads a `tokenizer.model` (sentencepiece_model.proto, fields as of version 0.2).
 * Throws TOKENIZER_CORRUPT for bytes that are no such model and TOKENIZER_UNSUPPORTED for a model that is not BPE, or
 * that changes the text before encoding it, because the ids would be wrong.
 */
export function* readSentencePieceModel(bytes: Uint8Array, file: string): Steps<SentencePieceModel> {
  try {
    return yield* parseModel(bytes, file);
  } catch (error) {
    if (!(error instanceof RangeError) && !(error instanceof TypeError)) throw error;
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: not a SentencePiece model: ${error.message}`, { cause: error });
  }
}

function* parseModel(bytes: Uint8Array, file: string): Steps<SentencePieceModel> {
  const pieces: Piece[] = [];
  let trainer = new Map<number, WireField>();
  let normalizer = new Map<number, WireField>();
  for (const field of wireFields(bytes)) {
    if (field.bytes === null) continue;
    if (field.number === 1) {
      if (pieces.length === maxPieces) throw new RangeError(`more than ${maxPieces} pieces`);
      pieces.push(parsePiece(field.bytes, pieces.length));
      if (pieces.length % 64 === 0) yield;
    } else if (field.number === 2) trainer = lastFields(field.bytes);
    else if (field.number === 3) normalizer = lastFields(field.bytes);
  }
  if (pieces.length === 0) throw new RangeError("it holds no pieces");
  // Written after the pieces: a file that was cut between two of them has none.
  if (trainer.size === 0) throw new RangeError("it is cut off, or has no trainer_spec");
  refuseUnsupported(trainer, normalizer, pieces, file);

  const integer = (number: number, absent: number) => trainer.get(number)?.varint ?? absent;
  const model = {
    pieces,
    byteFallback: integer(35, 0) !== 0,
    bosId: integer(41, 1) | 0,
    eosId: integer(42, 2) | 0,
    unkSurface: text(trainer.get(44), " \u2047 "),
    addDummyPrefix: (normalizer.get(3)?.varint ?? 1) !== 0,
  };
  // The pieces' types are what SentencePiece itself goes by.
  const unknown = pieces.findIndex((piece) => piece.type === pieceTypes.unknown);
  if (unknown < 0) throw new RangeError("it has no unknown piece");
  for (const id of [model.bosId, model.eosId]) {
    if (id >= pieces.length) throw new RangeError(`special id ${id} is past its ${pieces.length} pieces`);
  }
  return { ...model, unkId: unknown };
}

function parsePiece(bytes: Uint8Array, id: number): Piece {
  const fields = lastFields(bytes);
  const raw = fields.get(1)?.bytes ?? new Uint8Array();
  if (raw.length === 0 || raw.length > maxPieceBytes) {
    throw new RangeError(`piece ${id} has ${raw.length} bytes (1 to ${maxPieceBytes} are possible)`);
  }
  const score = fields.get(2)?.float ?? 0;
  if (Number.isNaN(score)) throw new RangeError(`the score of piece ${id} is not a number`);
  const type = fields.get(3)?.varint ?? pieceTypes.normal;
  if (type < 1 || type > 6) throw new RangeError(`piece ${id} has type ${type}`);
  return { text: utf8.decode(raw), score, type };
}

function refuseUnsupported(
  trainer: ReadonlyMap<number, WireField>,
  normalizer: ReadonlyMap<number, WireField>,
  pieces: readonly Piece[],
  file: string,
): void {
  const refuse = (what: string): never => {
    throw new CodedError("TOKENIZER_UNSUPPORTED", `${file}: ${what}`, {
      hint: "LLaMA's SentencePiece models are BPE with the identity normaliser",
    });
  };
  const modelType = trainer.get(3)?.varint ?? 1;
  if (modelType !== 2) {
    const name = ["unigram", "bpe", "word", "char"][modelType - 1] ?? `number ${modelType}`;
    refuse(`model type "${name}" is not supported, only "bpe"`);
  }
  if ((normalizer.get(2)?.bytes?.length ?? 0) > 0) {
    refuse(`normaliser "${text(normalizer.get(1), "user_defined")}" is not supported, only "identity"`);
  }
  if ((trainer.get(24)?.varint ?? 0) !== 0) refuse("treat_whitespace_as_suffix is not supported");
  if ((normalizer.get(4)?.varint ?? 1) !== 0) refuse("remove_extra_whitespaces is not supported");
  if ((normalizer.get(5)?.varint ?? 1) === 0) refuse("escape_whitespaces = false is not supported");
  const unused = pieces.findIndex((piece) => piece.type === pieceTypes.unused);
  if (unused >= 0) refuse(`piece ${unused} is of type "unused", which is not supported`);
}

/** The last value of each field, as protocol buffers define it for fields that are not repeated. */
function lastFields(bytes: Uint8Array): Map<number, WireField> {
  const fields = new Map<number, WireField>();
  for (const field of wireFields(bytes)) fields.set(field.number, field);
  return fields;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function text(field: WireField | undefined, absent: string): string {
  return field?.bytes ? utf8.decode(field.bytes) : absent;
}
