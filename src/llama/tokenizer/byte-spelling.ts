/** GPT-2's spelling of the 256 bytes: printable ones as themselves, the others from U+0100 on. */
export const byteCharacters: readonly string[] = spellBytes();
const bytesOfCharacters = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** The bytes as a piece of a byte-level vocabulary is spelled. */
export function spell(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byteCharacters[byte];
  return text;
}

/** The bytes of a piece; one with a character that stands for no byte (an added token) is text. */
export function bytesOfPiece(piece: string): Uint8Array {
  const bytes = new Uint8Array(piece.length);
  for (let i = 0; i < piece.length; i++) {
    const byte = bytesOfCharacters.get(piece[i]!);
    if (byte === undefined) return Buffer.from(piece);
    bytes[i] = byte;
  }
  return bytes;
}

/** SentencePiece's spelling of a byte: "<0x0A>". */
export function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function spellBytes(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
}
