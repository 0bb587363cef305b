/** May a training's file be called so? A plain name, without a folder and not hidden. */
export function isFileName(text: string): boolean {
  return /^[^./\\\0]([^/\\\0]*[^/\\.\0])?$/.test(text);
}
