import { describe, expect, it } from "vitest";
import { StopStrings, stopLimits } from "../../../src/llama/generation/stop-strings.ts";

/** What gets through, part by part, and whether a stop string ended it. */
function run(stops: string[], parts: readonly string[]): { out: string[]; stopped: boolean } {
  const filter = new StopStrings(stops);
  const out: string[] = [];
  for (const part of parts) {
    const { text, stopped } = filter.push(part);
    out.push(text);
    if (stopped) return { out, stopped };
  }
  out.push(filter.flush());
  return { out, stopped: false };
}

describe("StopStrings", () => {
  it("drops the stop string and what follows, across parts", () => {
    expect(run(["###"], ["one", "#", "#", "#two"])).toEqual({ out: ["one", "", "", ""], stopped: true });
    expect(run(["\n\n"], ["a\nb\n", "\nc"])).toEqual({ out: ["a\nb", ""], stopped: true });
  });

  it("gives held text as soon as it cannot become a stop string any more", () => {
    expect(run(["###"], ["a##", "b##", "c"]).out).toEqual(["a", "##b", "##c", ""]);
    expect(run(["END"], ["an EN"]).out).toEqual(["an ", "EN"]);
  });

  it("finds a stop string that begins inside a broken off one", () => {
    expect(run(["aab"], ["aa", "a", "b!"])).toEqual({ out: ["", "a", ""], stopped: true });
    expect(run(["abab c"], ["xabab", "ab c"])).toEqual({ out: ["x", "ab"], stopped: true });
  });

  it("ends with whichever of several is complete first", () => {
    expect(run(["User:", "\n"], ["Hi\nUser:"])).toEqual({ out: ["Hi"], stopped: true });
    expect(run(["ab", "b"], ["xab"])).toEqual({ out: ["x"], stopped: true });
  });

  it("never splits a character of two code units", () => {
    expect(run(["🦙🦙"], ["a🦙", "🐑"]).out).toEqual(["a", "🦙🐑", ""]);
  });

  it("ignores empty stop strings and passes everything without any", () => {
    expect(run([""], ["a", "b"])).toEqual({ out: ["a", "b", ""], stopped: false });
    expect(run([], ["a"]).stopped).toBe(false);
  });

  it("takes as many and as long texts as stopLimits allows, and refuses more", () => {
    const { texts, characters } = stopLimits;
    const most = Array.from({ length: texts }, (_, i) => "🦙".repeat(characters - 2) + (10 + i));
    expect(run(most, ["a", ..."🦙".repeat(characters), "17b"])).toMatchObject({ stopped: true });
    expect(() => new StopStrings([...most, "x"])).toThrow(expect.objectContaining({ code: "ENGINE_ARGUMENT" }));
    expect(() => new StopStrings(["x".repeat(characters + 1)])).toThrow("at most 1000 are allowed");
  });

  it("gives the same text as a search in the whole, on random text", () => {
    let state = 1;
    const random = (n: number) => {
      state = (state * 48271) % 2147483647;
      return state % n;
    };
    for (let round = 0; round < 500; round++) {
      const text = Array.from({ length: 30 }, () => "ab#"[random(3)]).join("");
      const stops = Array.from(
        { length: 1 + random(3) },
        () => text.slice(random(20)).slice(0, 1 + random(6)) + "b#"[random(3)],
      ).filter(Boolean);
      const ends = stops.map((stop) =>
        text.includes(stop) ? text.indexOf(stop) + stop.length : Number.POSITIVE_INFINITY,
      );
      const end = Math.min(...ends);
      const starts = stops.filter((_, i) => ends[i] === end).map((stop) => end - stop.length);
      const parts = text.match(/.{1,4}/g)!;
      const { out, stopped } = run(stops, parts);
      expect(stopped).toBe(end !== Number.POSITIVE_INFINITY);
      const joined = out.join("");
      if (stopped) expect(starts).toContain(joined.length);
      expect(text.startsWith(joined)).toBe(true);
      if (!stopped) expect(joined).toBe(text);
    }
  });
});
