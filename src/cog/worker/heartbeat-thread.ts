import { Socket } from "node:net";
import { workerData } from "node:worker_threads";

// The thread of a worker process that tells the server that the process is not stopped, and ends it after the server's end.

/** The main thread leaves by itself where it does not compute without a pause. */
const leaveMs = 1000;

const socket = new Socket({ fd: 4, readable: false, writable: true });
socket.once("error", () => setTimeout(() => process.kill(process.pid, "SIGKILL"), leaveMs));
setInterval(() => {
  // A server that does not read must not make a heap of beats.
  if (socket.writableLength === 0) socket.write(".");
}, workerData as number);
