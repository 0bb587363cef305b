import { describe, expect, it } from "vitest";
import { LiveLine } from "../../../../src/cog/cli/live/live-line.ts";
import { canDraw, knowsBlocks } from "../../../../src/cog/cli/live/terminal.ts";

/** Just enough of a terminal: what it shows of what was written. */
class Screen {
  columns = 60;
  readonly writes: string[] = [];
  readonly #rows = [""];
  readonly live = new LiveLine({ output: this, columns: () => this.columns, blocks: false });

  write(text: string): void {
    this.writes.push(text);
    for (const part of text.replaceAll("\x1b", "␛").match(/␛\[(?:K|\d+A|J)|[\r\n]|[^\r\n␛]+/g) ?? []) {
      if (part === "\n") this.#rows.push("");
      // Lines are drawn from the first column; what erases comes after the return.
      else if (part === "␛[K") this.#rows[this.#rows.length - 1] = "";
      else if (part !== "\r") this.#rows[this.#rows.length - 1] += part;
    }
  }

  async flush(): Promise<void> {}

  get rows(): readonly string[] {
    return this.#rows;
  }

  step(step: number): void {
    this.live.measured({ name: "steps", value: 8, mode: "replace" });
    this.live.measured({ name: "step", value: step, mode: "replace" });
  }
}

const half = "step 4/8 [###############---------------]  50%";

describe("the last line of a terminal", () => {
  it("stays below lines of the log, and goes with the run", async () => {
    const screen = new Screen();
    screen.live.write("before\n");
    screen.step(4);
    await expect.poll(() => screen.rows).toEqual(["before", half]);
    screen.live.write("one\ntwo\n");
    expect(screen.rows).toEqual(["before", "one", "two", half]);
    await screen.live.end({ stays: false });
    screen.live.write("after\n");
    screen.step(5);
    expect(screen.rows).toEqual(["before", "one", "two", "after", ""]);
  });

  it("stays as the last state of a run that did not succeed", async () => {
    const screen = new Screen();
    screen.step(4);
    await screen.live.end({ stays: true });
    await screen.live.end({ stays: true });
    expect(screen.rows).toEqual([half, ""]);
  });

  it("is drawn ten times a second at most", async () => {
    const screen = new Screen();
    const end = performance.now() + 350;
    for (let step = 1; performance.now() < end; step++) {
      screen.step(1 + (step % 8));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(screen.writes.length).toBeLessThanOrEqual(5);
    expect(screen.writes.length).toBeGreaterThan(0);
  });

  it("takes away all rows that a narrower terminal has made of it", async () => {
    const screen = new Screen();
    screen.step(4);
    await expect.poll(() => screen.live.isDrawn).toBe(true);
    screen.columns = 20;
    screen.live.resized();
    await expect.poll(() => screen.writes.at(-1)).toBe("\x1b[2A\r\x1b[Jstep 4/8  50%");
  });
});

describe("a live line", () => {
  it.each([
    [{ isTTY: true }, {}, true],
    [{ isTTY: true }, { CI: "false", TERM: "xterm" }, true],
    [{ isTTY: true }, { NO_COLOR: "1" }, true],
    [{ isTTY: true }, { CI: "true" }, false],
    [{ isTTY: true }, { TERM: "dumb" }, false],
    [{ isTTY: false }, {}, false],
  ])("is drawn on terminals that a person reads: %j %j", (stream, env, expected) => {
    expect(canDraw(stream as { isTTY: boolean }, env)).toBe(expected);
  });

  it("uses block characters where the terminal speaks UTF-8 and has them", () => {
    expect(knowsBlocks({ LANG: "de_DE.UTF-8", TERM: "xterm" })).toBe(true);
    expect(knowsBlocks({ LANG: "de_DE.UTF-8", LC_ALL: "C" })).toBe(false);
    expect(knowsBlocks({ LANG: "en_US.utf8", TERM: "linux" })).toBe(false);
  });
});
