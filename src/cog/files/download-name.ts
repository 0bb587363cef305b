import { randomBytes } from "node:crypto";
import { extname } from "node:path";

/** Of a file's name, in bytes. */
const longestName = 200;

/** The last part of the URL's path, decoded; never more than a name. */
export function nameOf(url: string): string {
  const last = new URL(url).pathname.split("/").at(-1) ?? "";
  let name = last.replaceAll("+", " ");
  try {
    name = decodeURIComponent(name);
  } catch {
    // Kept as it is.
  }
  // As Cog: a decoded slash or NUL must not become part of a path.
  name = name.replace(/[/\0]/g, "_");
  return name === "" || name === "." || name === ".." ? "file" : name;
}

/** A name for the file on this machine: one that no other has, with the extension, short enough for every file system. */
export function storedName(name: string): string {
  return randomBytes(6).toString("hex") + shortened(name);
}

function shortened(name: string): string {
  if (Buffer.byteLength(name) <= longestName) return name;
  const extension = extname(name).slice(0, 20);
  const room = longestName - Buffer.byteLength(extension) - 1;
  let head = Buffer.from(name).subarray(0, room).toString("utf8");
  // The cut may have gone through a character.
  if (head.endsWith("\ufffd")) head = head.slice(0, -1);
  return `${head}~${extension}`;
}
