import { isUtf8 } from "node:buffer";
import { Unreadable } from "./problems.ts";

/** A place where a text is not in its encoding; what follows is given with replacement characters. */
export class InvalidText {
  /** Of the file, unpacked. */
  readonly offset: number;
  /** What stands there and behind. */
  readonly bytes: Buffer;

  constructor(offset: number, bytes: Buffer) {
    this.offset = offset;
    this.bytes = bytes;
  }
}

/** Bytes that are looked at to tell an encoding. */
const sampleBytes = 1024;
const newline = 0x0a;
const byteOrderMark = Buffer.from("\ufeff");
const replacement = Buffer.from("\ufffd");

/**
 * A text file as UTF-8 without a byte order mark, in pieces that end between characters: from UTF-8, or from UTF-16 as its
 * byte order mark or the places of its NUL bytes say. Of UTF-8 every line with invalid bytes is told of once.
 * @throws Unreadable for UTF-32, what is no text, and UTF-16 that is damaged
 */
export async function* asUtf8(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer | InvalidText> {
  let sample: Buffer | null = Buffer.alloc(0);
  let decode: Decoder | null = null;
  for await (const chunk of chunks) {
    let bytes = chunk;
    if (sample !== null) {
      sample = Buffer.concat([sample, chunk]);
      if (sample.length < sampleBytes) continue;
      bytes = sample;
      sample = null;
    }
    decode ??= decoderOf(bytes);
    yield* decode(bytes, false);
  }
  if (sample !== null) decode = decoderOf(sample);
  yield* decode!(sample ?? Buffer.alloc(0), true);
}

type Decoder = (chunk: Buffer, isLast: boolean) => Generator<Buffer | InvalidText>;

function decoderOf(start: Buffer): Decoder {
  const mark = start.length >= 2 ? start.readUInt16BE(0) : 0;
  if (mark === 0xfffe && start.length >= 4 && start.readUInt16BE(2) === 0) throw wide("UTF-32");
  if (mark === 0xfffe) return utf16("utf-16le");
  if (mark === 0xfeff) return utf16("utf-16be");
  const nuls = [0, 0];
  const sample = start.subarray(0, sampleBytes);
  for (let i = sample.indexOf(0); i >= 0; i = sample.indexOf(0, i + 1)) nuls[i % 2]!++;
  const [even, odd] = nuls as [number, number];
  if (even + odd === 0) return new Utf8Check(start.subarray(0, 3).equals(byteOrderMark)).decode;
  // Text of any language has commas, quotation marks and ends of lines, whose other byte is NUL.
  const isUtf16 = Math.max(even, odd) >= sample.length / 64;
  if (isUtf16 && even === 0) return utf16("utf-16le");
  if (isUtf16 && odd === 0) return utf16("utf-16be");
  throw even > (2 * sample.length) / 4 ? wide("UTF-32") : new Unreadable("holds NUL bytes: it is no text");
}

function wide(name: string): Unreadable {
  return new Unreadable(`is a text in ${name}`, "Save it in UTF-8.");
}

function utf16(name: "utf-16le" | "utf-16be"): Decoder {
  const decoder = new TextDecoder(name, { fatal: true });
  let done = 0;
  return function* (chunk, isLast) {
    try {
      yield Buffer.from(decoder.decode(chunk, { stream: !isLast }));
    } catch {
      const [from, to] = [done, done + chunk.length];
      throw new Unreadable(`is not valid ${name.toUpperCase()} between bytes ${from} and ${to}`, "Save it in UTF-8.");
    }
    done += chunk.length;
  };
}

/** Passes UTF-8 on, and tells of the first invalid byte of each line. */
class Utf8Check {
  #hasMark: boolean;
  /** The beginning of a character that the next chunk ends. */
  #carry: Buffer = Buffer.alloc(0);
  /** Of the file: where the carry begins. */
  #offset = 0;
  /** Inside a line that was told of. */
  #isTold = false;

  constructor(hasMark: boolean) {
    this.#hasMark = hasMark;
  }

  readonly decode = (chunk: Buffer, isLast: boolean): Generator<Buffer | InvalidText> => this.#take(chunk, isLast);

  *#take(chunk: Buffer, isLast: boolean): Generator<Buffer | InvalidText> {
    let bytes = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    if (this.#hasMark) {
      bytes = bytes.subarray(byteOrderMark.length);
      this.#offset += byteOrderMark.length;
      this.#hasMark = false;
    }
    const end = isLast ? bytes.length : completeLength(bytes);
    // The chunk's memory belongs to the stream's pool.
    this.#carry = Buffer.from(bytes.subarray(end));
    const whole = bytes.subarray(0, end);
    if (isUtf8(whole)) {
      if (this.#isTold && whole.includes(newline)) this.#isTold = false;
      if (whole.length > 0) yield whole;
    } else yield* this.#byLines(whole);
    this.#offset += end;
  }

  *#byLines(bytes: Buffer): Generator<Buffer | InvalidText> {
    for (let start = 0; start < bytes.length; ) {
      const next = bytes.indexOf(newline, start);
      const end = next < 0 ? bytes.length : next + 1;
      const line = bytes.subarray(start, end);
      if (isUtf8(line)) yield line;
      else {
        const invalid = this.#isTold ? 0 : firstInvalid(line);
        if (invalid > 0) yield line.subarray(0, invalid);
        if (!this.#isTold) yield new InvalidText(this.#offset + start + invalid, line.subarray(invalid));
        yield Buffer.from(line.subarray(invalid).toString("utf8"));
        this.#isTold = true;
      }
      if (next >= 0) this.#isTold = false;
      start = end;
    }
  }
}

/** Bytes up to the last character that is whole. */
function completeLength(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
}

function firstInvalid(bytes: Buffer): number {
  const text = bytes.toString("utf8");
  let offset = 0;
  let from = 0;
  for (let at = text.indexOf("\ufffd"); at >= 0; at = text.indexOf("\ufffd", from)) {
    offset += Buffer.byteLength(text.slice(from, at));
    // The character may stand in the file itself.
    if (!bytes.subarray(offset, offset + replacement.length).equals(replacement)) return offset;
    offset += replacement.length;
    from = at + 1;
  }
  return bytes.length;
}

/** What the encoding may be, and how to change it. */
export function encodingRemedy(bytes: Buffer): string {
  let [pairs, others] = [0, 0];
  for (let i = 0; i < bytes.length && i < sampleBytes; i++) {
    if (bytes[i]! < 0x80) continue;
    // GB 2312: both bytes of a character are high. In Windows-1252 two such letters are rarely neighbours.
    if (bytes[i]! >= 0xa1 && (bytes[i + 1] ?? 0) >= 0xa1) {
      pairs++;
      i++;
    } else others++;
  }
  return pairs > others
    ? "It may be GBK or GB18030: iconv -f gbk -t utf-8 OLD > NEW makes it UTF-8."
    : "It may be Windows-1252: iconv -f windows-1252 -t utf-8 OLD > NEW makes it UTF-8.";
}
