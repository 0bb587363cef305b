import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { renderPrompt, textTemplates } from "../../../src/llama/prompt/index.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

describe("prompt templates", () => {
  // Digests of alpaca-lora's own templates/*.json texts, placeholders in place.
  it.each([
    ["alpaca", "withoutInput", "7768da83ee0feb389c3bbcac0841599b1f953ff9ee5c448ec02fc560d762893f"],
    ["alpaca", "withInput", "f1b8970aa9b05de470dbd1413609a155a16c9e9cfe4efbf01cf38dc2049fde66"],
    ["vigogne", "withoutInput", "82e0a57e9c7c2e5668f2df93924de3e598093d4485801aa4755bf677178ab14f"],
    ["vigogne", "withInput", "631ae5fdf000555d194fc893d070464362caea7f3340675d14c11e34b8c97c23"],
  ] as const)("%s %s is alpaca-lora's, byte for byte", (name, form, digest) => {
    expect(sha256(textTemplates[name][form])).toBe(digest);
  });

  it("alpaca_legacy is alpaca without the final newline", () => {
    for (const input of ["", "some context"]) {
      expect(`${renderPrompt("alpaca_legacy", "Do it", input)}\n`).toBe(renderPrompt("alpaca", "Do it", input));
    }
  });

  it("alpaca_short is alpaca without its first paragraph", () => {
    for (const input of ["", "some context"]) {
      const long = renderPrompt("alpaca", "Do it", input);
      expect(renderPrompt("alpaca_short", "Do it", input)).toBe(long.slice(long.indexOf("\n\n") + 2));
    }
  });
});

describe("renderPrompt", () => {
  it("chooses the form by whether there is an input", () => {
    expect(renderPrompt("alpaca", "Add", "1 2")).toContain("### Input:\n1 2\n\n### Response:\n");
    for (const absent of [undefined, null, ""])
      expect(renderPrompt("alpaca", "Add", absent)).not.toContain("### Input");
  });

  it("passes the prompt as it stands with none, and appends an input after a newline", () => {
    expect(renderPrompt("none", " Once upon\n")).toBe(" Once upon\n");
    expect(renderPrompt("none", "Translate:", "chat")).toBe("Translate:\nchat");
  });

  it("leaves braces, dollar signs and placeholders in the data alone", () => {
    const data = "{input} {instruction} {} $& $1";
    expect(renderPrompt("none", data, data)).toBe(`${data}\n${data}`);
  });

  it("names the known templates when there is no such one", () => {
    for (const name of ["chat", "__proto__", "constructor"]) {
      expect(() => renderPrompt(name, "x")).toThrow(
        expect.objectContaining({
          code: "PROMPT_TEMPLATE_UNKNOWN",
          hint: expect.stringContaining(Object.keys(textTemplates).join(", ")),
        }),
      );
    }
  });
});
