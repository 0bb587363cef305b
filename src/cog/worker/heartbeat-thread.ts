import { Socket } from "node:net";
import { workerData } from "node:worker_threads";

// The thread of a worker process that tells the server that the process is not stopped.
const socket = new Socket({ fd: 4, readable: false, writable: true });
socket.on("error", () => {});
setInterval(() => {
  // A server that does not read must not make a heap of beats.
  if (socket.writableLength === 0) socket.write(".");
}, workerData as number);
