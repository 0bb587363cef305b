// What chat templates expect of Python, where JavaScript differs.

/** Python's str.isspace for the characters that str.strip takes off. */
const space = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** str.strip, str.lstrip or str.rstrip; without `characters` of white space. */
export function pythonStrip(text: string, method: string, characters?: string): string {
  const strips = (character: string): boolean =>
    characters === undefined ? isSpace.test(character) : characters.includes(character);
  let [start, end] = [0, text.length];
  if (method !== "rstrip") {
    for (let point = pointAt(text, start); start < end && strips(point); point = pointAt(text, start))
      start += point.length;
  }
  if (method !== "lstrip") {
    for (let point = pointBefore(text, end); end > start && strips(point); point = pointBefore(text, end)) {
      end -= point.length;
    }
  }
  return text.slice(start, end);
}

const isSpace = new RegExp(`^[${space}]$`, "u");

function pointAt(text: string, place: number): string {
  return place < text.length ? String.fromCodePoint(text.codePointAt(place)!) : "";
}

function pointBefore(text: string, place: number): string {
  const pair = text.slice(Math.max(0, place - 2), place);
  return pair.length === 2 && pair.codePointAt(0)! > 0xffff ? pair : pair.slice(-1);
}

const months = "January February March April May June July August September October November December".split(" ");
const days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** datetime.now().strftime(format) in the C locale; directives that templates do not use stay as they are. */
export function strftime(date: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const [month, day] = [months[date.getMonth()]!, days[date.getDay()]!];
  const values: Record<string, string> = {
    "%Y": String(date.getFullYear()),
    "%y": two(date.getFullYear() % 100),
    "%m": two(date.getMonth() + 1),
    "%d": two(date.getDate()),
    "%B": month,
    "%b": month.slice(0, 3),
    "%A": day,
    "%a": day.slice(0, 3),
    "%H": two(date.getHours()),
    "%I": two(date.getHours() % 12 || 12),
    "%M": two(date.getMinutes()),
    "%S": two(date.getSeconds()),
    "%p": date.getHours() < 12 ? "AM" : "PM",
    "%%": "%",
  };
  return format.replace(/%[A-Za-z%]/g, (directive) => values[directive] ?? directive);
}
