import type { Rule } from "./compare.ts";

// biome-ignore lint/suspicious/noExplicitAny: recorded cases are plain JSON of many shapes
export type Json = any;

/** One recorded case: how a server is started, what is done to it, and what the real one answered. */
export interface Case {
  readonly id: string;
  readonly title: string;
  readonly fixture: string;
  readonly server: { env: Record<string, string>; flags: string[]; wait_for: string | string[] | null } | null;
  readonly services?: Json;
  readonly steps: Json[];
  readonly compare?: Rule[];
}
