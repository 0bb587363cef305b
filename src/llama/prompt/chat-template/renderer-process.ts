import { isCodedError } from "../../../errors/index.ts";
import { type ChatRequest, RaisedByTemplate, renderChats } from "./render.ts";
import type { RendererAnswer } from "./renderer.ts";

// The process that renders templates, which are foreign code: it may be ended at any time, and its memory is its own.
process.on("message", (request: ChatRequest) => answer(rendered(request)));
process.on("disconnect", () => process.exit());
answer({ kind: "ready" });

function rendered(request: ChatRequest): RendererAnswer {
  try {
    return { kind: "rendered", conversations: renderChats(request) };
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof RaisedByTemplate) return { kind: "raised", message };
    if (isCodedError(error)) return { kind: "refused", code: error.code, message };
    const tooDeep = error instanceof RangeError && message.includes("call stack");
    return { kind: "failed", message: tooDeep ? "is nested too deeply" : message };
  }
}

function answer(message: RendererAnswer): void {
  process.send!(message);
}
