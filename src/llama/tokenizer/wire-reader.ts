/** One field of a protocol buffer message: its number, and its value by wire type (0, 1, 2, 5). */
export interface WireField {
  readonly number: number;
  /** Varint as a safe integer (negative int32 values wrap to it as their low 32 bits), or null for another wire type. */
  readonly varint: number | null;
  /** Contents of a length-delimited field. */
  readonly bytes: Uint8Array | null;
  readonly float: number | null;
}

/**
 * The fields of a message in file order. Reads within `bytes` only; throws RangeError, which the caller turns into an
 * error that names the file, where the bytes are no protocol buffer message.
 * https://protobuf.dev/programming-guides/encoding/
 */
export function* wireFields(bytes: Uint8Array): Generator<WireField> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (at >= bytes.length) throw new RangeError(`a number runs past the end at byte ${at}`);
      const byte = bytes[at++]!;
      if (shift === 0n && byte < 0x80) return byte;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        // Negative int32 values are written as 64 bits with the sign extended.
        return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number(BigInt.asIntN(32, value)) : Number(value);
      }
    }
    throw new RangeError(`a number has more than ten bytes at byte ${at}`);
  };
  const take = (length: number): number => {
    if (length < 0 || length > bytes.length - at) throw new RangeError(`a field runs past the end at byte ${at}`);
    at += length;
    return at - length;
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (number < 1 || number > 0x1fff_ffff) throw new RangeError(`no field has number ${number} (byte ${at})`);
    switch (tag % 8) {
      case 0:
        yield { number, varint: varint(), bytes: null, float: null };
        break;
      case 1:
        take(8);
        yield { number, varint: null, bytes: null, float: null };
        break;
      case 2: {
        const length = varint();
        const start = take(length);
        yield { number, varint: null, bytes: bytes.subarray(start, start + length), float: null };
        break;
      }
      case 5:
        yield { number, varint: null, bytes: null, float: view.getFloat32(take(4), true) };
        break;
      default:
        throw new RangeError(`wire type ${tag % 8} at byte ${at}`);
    }
  }
}
