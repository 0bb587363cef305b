import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A real HTTP proxy. It knows where names under .test are; everything else it refuses. */
export class ProxyServer {
  /** What it was asked for: "GET http://files.test/a", "CONNECT files.test:443". */
  readonly asked: string[] = [];
  readonly #server: Server;

  private constructor(ports: Record<string, number>) {
    this.#server = createServer((req, res) => this.#pass(req, res, ports));
    this.#server.on("connect", (req, socket) => {
      this.asked.push(`CONNECT ${req.url}`);
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
  }

  /** `ports`: where the server of each name listens on this machine. */
  static async start(ports: Record<string, number>): Promise<ProxyServer> {
    const proxy = new ProxyServer(ports);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #pass(req: IncomingMessage, res: ServerResponse, ports: Record<string, number>): void {
    this.asked.push(`${req.method} ${req.url}`);
    const url = URL.canParse(req.url!) ? new URL(req.url!) : null;
    const port = url === null ? undefined : ports[url.hostname];
    if (url === null || port === undefined) {
      res.writeHead(403).end("not through this proxy");
      return;
    }
    const { method, headers } = req;
    const onward = request({ host: "127.0.0.1", port, path: url.pathname + url.search, method, headers }, (answer) => {
      res.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(res);
    });
    onward.on("error", () => res.destroy());
    req.pipe(onward);
  }
}
