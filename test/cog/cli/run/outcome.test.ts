import { describe, expect, it } from "vitest";
import { codedFailure, runFailure } from "../../../../src/cog/cli/run/outcome.ts";
import { errorText } from "../../../../src/cog/worker/errors.ts";
import { CodedError } from "../../../../src/errors/index.ts";

describe("an error with a code", () => {
  it("keeps all lines of its message, its hint on one of its own", () => {
    const text = errorText(new CodedError("DATASET_FORMAT", "data has 2 problems:\n- a\n- b", { hint: "Do this." }));
    expect(runFailure(text)?.message).toBe("error [DATASET_FORMAT]: data has 2 problems:\n- a\n- b\nDo this.");
  });

  it("is one line of a log", () => {
    expect(codedFailure("starting\nError: [PROJECT_CONFIG] no cog.yaml\n    at x")?.message).toBe(
      "error [PROJECT_CONFIG]: no cog.yaml",
    );
    expect(codedFailure("starting\n[PROJECT_CONFIG] no cog.yaml\nended")?.message).toBe(
      "error [PROJECT_CONFIG]: no cog.yaml",
    );
    expect(codedFailure("nothing")).toBeUndefined();
  });
});
