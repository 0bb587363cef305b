import { CodedError, type ErrorCode } from "../../errors/index.ts";

/**
 * Recognises what a failed download leaves in place of a file, from its first bytes: a Git LFS pointer or a web page.
 * Throws `code` naming the file.
 */
export function refuseImpostor(start: Uint8Array, file: string, code: ErrorCode): void {
  const text = new TextDecoder("latin1").decode(start.subarray(0, 512)).trimStart().toLowerCase();
  if (text.startsWith("version https://git-lfs")) {
    throw new CodedError(code, `${file}: is a Git LFS pointer, not the file itself`, {
      hint: "Run `git lfs pull` where the files were cloned, or download the file itself",
    });
  }
  if (/^(<!doctype html|<html|<\?xml)/.test(text)) {
    throw new CodedError(code, `${file}: is a web page, not the file itself`, {
      hint: "The download answered with an error page; download the file again",
    });
  }
}
