import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, it } from "vitest";
import { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/storage", import.meta.url));
const entry = fileURLToPath(new URL("../../dist/cog/server.js", import.meta.url));
beforeAll(buildDist);

async function predict(server: ServerProcess, input: object): Promise<Record<string, unknown>> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ input });
  const answer = await fetch(`${server.url}/predictions`, { method: "POST", headers, body });
  return (await answer.json()) as Record<string, unknown>;
}

/** Another file system in the place of the temporary folder: only a user namespace of our own lets us. */
const mounted = (prepare: string): [string, ...string[]] => [
  "unshare",
  "-rm",
  "sh",
  "-c",
  `${prepare} && exec "${process.execPath}" "${entry}" "$@"`,
  "server",
];
const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;
const fill = 'head -c 100000 /dev/zero > "$TMPDIR/filler" 2>/dev/null';

const folders: [string, { command?: [string, ...string[]]; env?: Record<string, string> }, string, boolean][] = [
  ["is no folder", { env: { TMPDIR: `${dir}/cog.yaml` } }, "it is no folder (ENOTDIR)", true],
  ["is read-only", { command: mounted('mount -t tmpfs -o ro tmpfs "$TMPDIR"') }, "it is read-only (EROFS)", canMount],
  [
    "is full",
    { command: mounted(`mount -t tmpfs -o size=64k tmpfs "$TMPDIR" && { ${fill} || true; }`) },
    "it is full (ENOSPC)",
    canMount,
  ],
];

describe.concurrent("a temporary folder that", () => {
  for (const [what, options, reason, isPossible] of folders) {
    it.skipIf(!isPossible)(`${what} fails runs that need it, by its code and without its path`, async ({ expect }) => {
      const desk = await Receiver.start(() => ({ body: "x".repeat(200_000) }));
      const server = await startServerProcess({ dir, ...options });
      await server.until("READY");
      const error = `the temporary folder cannot be used: ${reason}. Free space in it, or set TMPDIR to a folder that can be written to.`;
      const data = (bytes: number) => `data:text/plain;base64,${Buffer.alloc(bytes, "x").toString("base64")}`;
      for (const file of [data(3000), data(200_000), `${desk.url}/file.txt`]) {
        const answer = await predict(server, { file });
        expect(answer).toMatchObject({ status: "failed", error: `[TEMPORARY_FOLDER] input "file": ${error}` });
      }
      if (!what.includes("full")) {
        for (const makes of ["run folder", "own folder"]) {
          expect(await predict(server, { makes })).toMatchObject({ error: `[TEMPORARY_FOLDER] ${error}` });
        }
      }
      expect(await predict(server, {})).toMatchObject({ status: "succeeded" });
      await server.kill();
      desk.close();
    });
  }
});
