import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { renderChats } from "../../../src/llama/prompt/chat-template/render.ts";
import { parseTemplateRecord } from "../../../src/llama/prompt/record.ts";
import { bounded, soup, valueOrCode } from "../../fuzzing.ts";

const jinja =
  `{% for m in messages %} {% endfor %} {% if m %} {% else %} {% endif %} {{ m.content }} {{ messages[0]['role'] }} {% set x = 1 %}
  {{ x + 1 }} {{ range(9) }} {{ 'a' * 9 }} | trim | tojson | length | join(',') | replace('a','b') {{ [1,2][::-1] }} {% macro f(a) %} {% endmacro %}
  {{ f(1) }} {% break %} {% continue %} {{- -}} {%- -%} {# #} {{ namespace(a=1).a }} {{ x.y.z }} {{ messages | selectattr('role','defined') }}
  {{ ' a '.strip() }} {{ 'a'.split('') }} {{ raise_exception('x') }} ( ) [ ] . , ~ == not in is defined`.split(
    /\s{2,}|\n| (?=\{)/,
  );

describe("whatever a template says, rendering it", () => {
  it("gives text and ids within the limits, or fails", () => {
    const content = fc.oneof(fc.string(), fc.constant("</s>"));
    fc.assert(
      fc.property(soup(jinja, 12), content, (template, text) => {
        const request = { template, specialTokens: new Map([["</s>", 2]]), variables: {}, addGenerationPrompt: true };
        try {
          const [parts] = renderChats({ ...request, conversations: [[{ role: "user", content: text }]] });
          expect(parts!.join("").length).toBeLessThan(2 ** 20);
          if (!template.includes("</s>")) expect(parts!.includes(2)).toBe(false);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          if (!isCodedError(error)) expect((error as Error).name).toMatch(/Error$/);
        }
      }),
      bounded,
    );
  });
});

describe("whatever a template file says, it", () => {
  it("is a template, or is refused with a code that names the file", async () => {
    const names = [
      "prompt_template_name",
      "chat_template",
      "prompt_input",
      "prompt_no_input",
      "description",
      "__proto__",
    ];
    const value = fc.oneof(
      fc.string(),
      soup(["{", "}", "{instruction}", "{input}", "{{"]),
      fc.constantFrom("chat", "none", 1, null),
    );
    const record = fc
      .array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 4 })
      .map(
        (members) => `{${members.map(([name, item]) => `${JSON.stringify(name)}:${JSON.stringify(item)}`).join(",")}}`,
      );
    await fc.assert(
      fc.asyncProperty(fc.oneof(record, fc.json(), fc.string()), async (text) => {
        const read = await valueOrCode(() => parseTemplateRecord(text, "t.json"), "PROMPT_TEMPLATE_INVALID");
        if (isCodedError(read)) expect(read.message).toContain("t.json");
        else expect(parseTemplateRecord(JSON.stringify(read), "t.json")).toEqual(read);
      }),
      bounded,
    );
  });
});
