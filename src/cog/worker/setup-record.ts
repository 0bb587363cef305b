const longestLogs = 1024 * 1024;

/** One setup of a worker, as /health-check shows it. */
export class SetupRecord {
  readonly startedAt = new Date();
  completedAt: Date | null = null;
  status: "starting" | "succeeded" | "failed" = "starting";
  logs = "";

  add(lines: readonly string[]): void {
    if (this.logs.length > longestLogs) return;
    this.logs += lines.map((line) => `[coglet::setup] ${line}\n`).join("");
  }

  end(status: "succeeded" | "failed", error: string): void {
    this.status = status;
    this.completedAt = new Date();
    this.logs += error;
  }
}
