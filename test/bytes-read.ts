import { existsSync, readFileSync } from "node:fs";

const counters = "/proc/self/io";

/** What `task` returns, and the bytes that this process asked of files meanwhile; 0 where the system does not count them. */
export async function bytesRead<T>(task: () => Promise<T>): Promise<{ result: T; bytes: number }> {
  const before = count();
  const result = await task();
  return { result, bytes: count() - before };
}

function count(): number {
  if (!existsSync(counters)) return 0;
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(counters, "utf8"))![1]);
}
