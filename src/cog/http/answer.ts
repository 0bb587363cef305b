import type { ServerResponse } from "node:http";

/** UTF-16 units. */
const longText = 65_536;

/** Answers with JSON, typed exactly as Cog does (no charset). */
export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  sendJsonText(res, status, JSON.stringify(body));
}

export function sendJsonText(res: ServerResponse, status: number, text: string): void {
  send(res, status, "application/json", text);
}

export function sendText(res: ServerResponse, status: number, text: string): void {
  send(res, status, "text/plain; charset=utf-8", text);
}

export function sendEmpty(res: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  res.writeHead(status, { "content-length": "0", ...headers });
  res.end();
}

export function send(res: ServerResponse, status: number, type: string, text: string): void {
  // The client may have left while the run was going on.
  if (res.headersSent || res.destroyed) return;
  const body = bytesIfLong(text);
  res.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  res.end(body);
}

/** A long text is copied twice when it is written, with its headers and by the socket; bytes are not copied at all. */
export function bytesIfLong(text: string): string | Buffer {
  return text.length > longText ? Buffer.from(text) : text;
}
