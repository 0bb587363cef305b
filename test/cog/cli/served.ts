import type { ChildProcess } from "node:child_process";
import { addressOf, ProjectFolder, type Result, resultOf } from "./command.ts";

interface Served {
  readonly project: ProjectFolder;
  readonly server: ChildProcess;
  readonly ended: Promise<Result>;
  readonly address: Promise<string>;
}

/** `cog serve` of fixtures, each started once for all tests of a file that ask for its address. */
export class ServedFixtures {
  readonly #served = new Map<string, Served>();

  addressOf(fixture: string): Promise<string> {
    const served = this.#served.get(fixture) ?? start(fixture);
    this.#served.set(fixture, served);
    return served.address;
  }

  async close(): Promise<void> {
    for (const { server, ended, project } of this.#served.values()) {
      server.kill("SIGTERM");
      await ended;
      project.remove();
    }
  }
}

function start(fixture: string): Served {
  const project = new ProjectFolder(fixture);
  const env = { COG_MAX_CONCURRENCY: "16" };
  const server = project.start(["serve", "--host", "127.0.0.1", "-p", "0"], env);
  return { project, server, ended: resultOf(server), address: addressOf(server) };
}
