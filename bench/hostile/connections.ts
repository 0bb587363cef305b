import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Attack } from "./attack.ts";

/** Clients that do not do their part of HTTP. */
export const connections: readonly Attack[] = [
  {
    name: "downloads at one byte a second",
    seconds: 15,
    async run(target) {
      const files = createServer((_, res) => {
        res.writeHead(200, { "content-length": 1e6 });
        const timer = setInterval(() => res.write("x"), 1000);
        res.on("close", () => clearInterval(timer));
      });
      await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
      const file = `http://127.0.0.1:${(files.address() as AddressInfo).port}/file`;
      await Promise.all(Array.from({ length: 16 }, () => target.input({ file })));
      files.closeAllConnections();
      files.close();
    },
  },
  {
    // Larger ones cost the model itself too much at once, and 200 MB are to be kept in all.
    name: "40 clients that do not read answers of 5 MB",
    seconds: 20,
    async run(target) {
      const body = JSON.stringify({ input: { size: 5_000_000 } });
      for (let i = 0; i < 40; i++) {
        target.connection(`${target.head()}Content-Length: ${body.length}\r\n\r\n${body}`).pause();
        await target.pause(200);
      }
      await target.pause(5000);
    },
  },
  {
    name: "401 with a body without end",
    async run(target) {
      const socket = target.connection(
        "POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      const chunk = `100000\r\n${"x".repeat(2 ** 20)}\r\n`;
      for (let i = 0; i < 2000 && !target.signal.aborted && !socket.destroyed; i++) {
        if (socket.write(chunk)) await target.pause(0);
        else
          await Promise.race([
            new Promise((resolve) => socket.once("drain", resolve).once("close", resolve)),
            target.pause(8000),
          ]);
      }
      target.count(socket.destroyed ? "closed by the server" : "read without end");
    },
  },
  {
    name: "2,000 half-open requests",
    async run(target) {
      const halves = [target.head(), `${target.head()}Content-Length: 1000\r\n\r\n{"input":`, "POST /pred", ""];
      for (let i = 0; i < 2000; i++) {
        target.connection(halves[i % halves.length]);
        if (i % 100 === 99) await target.pause(10);
      }
      await target.pause(3000);
    },
  },
  {
    name: "a client that cancels everything",
    async run(target) {
      const body = JSON.stringify({ input: { tick: 1 } });
      const each = async (client: number) => {
        for (let i = 0; i < 50; i++) {
          const path = `/predictions/canceled-${client}-${i}`;
          await target.post(body, { path, method: "PUT", headers: { prefer: "respond-async" } });
          await target.post("", { path: `${path}/cancel` });
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, client) => each(client)));
    },
  },
];
