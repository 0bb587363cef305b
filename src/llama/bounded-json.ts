/** As parseUniqueKeyJson has it; no file that is read here nests deeper than ten. */
const deepest = 64;

const [quote, comma, colon, backslash] = [0x22, 0x2c, 0x3a, 0x5c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * JSON.parse for texts from outside: what would fill memory or the stack is refused before it is parsed.
 * @param mostCommas of a text: each is one more value
 * @throws SyntaxError saying what is wrong
 */
export function parseBoundedJson(text: string, mostCommas = Number.POSITIVE_INFINITY): unknown {
  checkBounds(text, mostCommas);
  return JSON.parse(text);
}

/**
 * What parseBoundedJson checks before it parses.
 * @returns colons outside strings: in valid JSON one for each member of an object, also of a key given twice
 * @throws SyntaxError
 */
export function checkBounds(text: string, mostCommas: number): number {
  let depth = 0;
  let commas = 0;
  let colons = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === quote) i = endOfString(text, i);
    else if (code === colon) colons++;
    else if (code === openBrace || code === openBracket) {
      if (++depth > deepest) throw new SyntaxError(`nested deeper than ${deepest} levels (at character ${i})`);
    } else if (code === closeBrace || code === closeBracket) depth--;
    else if (code === comma && ++commas > mostCommas) {
      throw new SyntaxError(`more than ${mostCommas} values (at character ${i})`);
    }
  }
  return colons;
}

/** Place of the quotation mark that ends the string; the text's end where there is none. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === backslash) before--;
    // An even number of backslashes stands for themselves.
    if ((end - before) % 2 === 1) return end;
  }
  return text.length;
}
