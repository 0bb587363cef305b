import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { CodedError } from "../../errors/index.ts";

/** Binds the address and returns the port. @throws CodedError LISTEN_FAILED */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(failure(error, host, port));
    server.once("error", onError);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", onError);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function failure(error: NodeJS.ErrnoException, host: string, port: number): CodedError {
  const [message, hint] = explanation(error, host, port);
  return new CodedError("LISTEN_FAILED", message, { hint, cause: error });
}

function explanation(error: NodeJS.ErrnoException, host: string, port: number): [message: string, hint: string] {
  switch (error.code) {
    case "EADDRINUSE":
      return [`port ${port} of ${host} is in use`, "stop what listens there, or give another port with --port or PORT"];
    case "EACCES":
      return [`this process may not listen on port ${port}`, "give a port from 1024 on with --port or PORT"];
    case "EADDRNOTAVAIL":
      return [`${host} is no address of this machine`, "give one with --host; 0.0.0.0 listens on all"];
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_NONAME":
      return [`the host ${host} cannot be resolved`, "give an address with --host; 0.0.0.0 listens on all"];
    default:
      return [
        `cannot listen on port ${port} of ${host} (${error.code ?? error.message})`,
        "give another address with --host and --port",
      ];
  }
}
