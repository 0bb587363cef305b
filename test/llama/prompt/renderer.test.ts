import { describe, expect, it } from "vitest";
import { chatRenderer } from "../../../src/llama/prompt/chat-template/renderer.ts";
import type { Message } from "../../../src/llama/prompt/conversation.ts";

const specialTokens = new Map([["</s>", 2]]);

function render(template: string, content = "Hello", signal?: AbortSignal) {
  const conversations: Message[][] = [[{ role: "user", content }]];
  return chatRenderer.render(
    { template, specialTokens, variables: { eos_token: "</s>" }, conversations, addGenerationPrompt: true },
    signal,
  );
}

const invalid = (what: string | RegExp) => ({
  code: "PROMPT_TEMPLATE_INVALID",
  message: typeof what === "string" ? expect.stringContaining(what) : expect.stringMatching(what),
});

describe("the process that renders templates", () => {
  it("renders many at once, each as asked", async () => {
    const wanted = Array.from({ length: 50 }, (_, i) => `text ${i}`);
    const all = await Promise.all(wanted.map((text) => render("[{{ messages[0].content }}]{{ eos_token }}", text)));
    expect(all).toEqual(wanted.map((text) => [[`[${text}]`, 2]]));
  });

  it("ends templates that do too much, and renders the next", async () => {
    const loop = "{% for a in range(10000) %}";
    const ends = "{% endfor %}";
    const grow = (what: string) =>
      `{% set ns = namespace(t=${what}) %}{% for a in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}`;
    const hostile: [string, string | RegExp][] = [
      [`${loop}${loop}${ends}${ends}`, /ms|too long/],
      [`${loop}{{ a }}{{ a }}{{ a }}{{ a }}${ends}`.repeat(20), /steps|ms|too long|characters/],
      [grow("'aaaaaaaa'"), "characters"],
      [grow("[1]"), "items"],
      [
        "{% set ns = namespace(t='a') %}{% for a in range(9) %}{% set ns.t = ns.t.replace('a', 'aaaaaaaa') %}{% endfor %}",
        "characters",
      ],
      ["{{ range(1000000000) }}", "range() of"],
      ["{{ range(0, 5, 0) }}", "range() of"],
      ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot be used"],
      [`{{ ${"(".repeat(50_000)}1${")".repeat(50_000)} }}`, "nested"],
      ["x".repeat(2 ** 18 + 1), "characters"],
    ];
    for (const [template, what] of hostile) {
      await expect(render(template)).rejects.toMatchObject(invalid(what));
      expect(await render("{{ messages[0].content }}")).toEqual([["Hello"]]);
    }
  });

  it("is ended with a template that fills its memory in one step, and started again", async () => {
    const doubled = "{% set ns = namespace(t=[1]) %}{% for a in range(40) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}";
    const others = Promise.all(
      [render(`${doubled}{{ ns.t | tojson }}`), render("{{ 1 + 1 }}")].map((all) => all.catch((e) => e)),
    );
    const [failed, next] = await others;
    expect(failed).toMatchObject(invalid(/too long or too much memory|call stack|string length/));
    expect(next).toEqual([["2"]]);
  });

  it("shows templates nothing of JavaScript", async () => {
    const names = ["__proto__", "constructor", "prototype", "toString", "__defineGetter__"];
    for (const name of names) {
      for (const of of [
        "messages",
        "messages[0]",
        "messages[0].content",
        "namespace",
        "namespace()",
        "raise_exception",
      ]) {
        for (const access of [`${of}.${name}`, `${of}['${name}']`]) {
          expect(await render(`{{ ${access} is defined }}`)).toEqual([["false"]]);
          await expect(render(`{{ ${access}.constructor('return process')() }}`)).rejects.toMatchObject({
            code: "PROMPT_TEMPLATE_INVALID",
          });
        }
      }
      expect(await render(`{{ ${name} is defined }}`)).toEqual([["false"]]);
    }
    expect(await render("{{ process is defined or require is defined or globalThis is defined }}")).toEqual([
      ["false"],
    ]);
  });

  it("passes on what a template raises, and what is wrong with one", async () => {
    await expect(render("{{ raise_exception('Only tea') }}")).rejects.toMatchObject({
      code: "PROMPT_MESSAGES",
      message: "the chat template refuses the messages: Only tea",
    });
    for (const template of ["{% if %}", "{{ 1 + }}", "{% for %}", "{{ messages | nothing }}", "{% endif %}"]) {
      await expect(render(template)).rejects.toMatchObject(invalid("the chat template cannot be used"));
    }
  });

  it("answers at once when it is no longer wanted", async () => {
    const controller = new AbortController();
    const [first, second] = [render("{{ 1 }}"), render("{{ 2 }}", "", controller.signal)];
    const reason = new Error("gone");
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    expect(await first).toEqual([["1"]]);
    expect(await render("{{ 3 }}")).toEqual([["3"]]);
    await expect(render("{{ 4 }}", "", controller.signal)).rejects.toBe(reason);
  });
});
