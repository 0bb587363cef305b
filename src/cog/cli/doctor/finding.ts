/** What one check found. `hint` says what to do; every error has one. */
export interface Finding {
  level: "ok" | "note" | "error";
  text: string;
  hint?: string | undefined;
}

export const ok = (text: string): Finding => ({ level: "ok", text });
export const note = (text: string, hint?: string): Finding => ({ level: "note", text, hint });
export const problem = (text: string, hint: string): Finding => ({ level: "error", text, hint });
