/** "0.1 MB", "1234.5 MB" */
export function megabytesText(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** "0.1 MB", "17 MB", "2.4 GB" */
export function memoryText(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** "512 KB", "1.3 MB", "17 MB", "2.4 GB" */
export function bytesText(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : memoryText(bytes);
}

/** "40 s", "12 min", "3.2 h", "2.1 days" */
export function secondsText(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} days`;
}
