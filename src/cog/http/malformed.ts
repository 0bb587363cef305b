import type { Server } from "node:http";
import type { Socket } from "node:net";

/** How long what a refused client still sends is read and thrown away, milliseconds. */
const lingering = 1000;

const statuses: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "413 Payload Too Large",
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
};

/**
 * Answers what is not HTTP, or too much of it, before any route sees it. Node closes such a connection at once; where the
 * client is still sending, the reset that follows can take the answer with it before it is read.
 */
export function answerMalformed(server: Server): void {
  const refused = new WeakSet<Socket>();
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (refused.has(socket)) return; // the parser complains of every piece that follows
    refused.add(socket);
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    refuse(socket, statuses[error.code ?? ""] ?? "400 Bad Request");
  });
}

/** Answers with a status, and headers after it, on a connection that gets nothing else. */
export function refuse(socket: Socket, status: string): void {
  socket.on("error", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  socket.resume();
  setTimeout(() => socket.destroy(), lingering).unref();
}
