import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect } from "vitest";
import { type CodedError, type ErrorCode, isCodedError } from "../src/errors/index.ts";

/** npm run test:thorough: more of each property, and larger sizes. */
const isThorough = process.env.THOROUGH_TESTS !== undefined;

/** Of one property: seconds at most. What fails prints its seed. */
export const bounded = {
  numRuns: isThorough ? 600 : 200,
  interruptAfterTimeLimit: isThorough ? 4000 : 2000,
  // The same in every run, so that a change is what fails; FUZZ_SEED hunts elsewhere.
  seed: Number(process.env.FUZZ_SEED ?? 1),
} as const;

/** What reading came to: a value, or the coded error that refused it. Anything else that is thrown fails the test. */
export async function valueOrCode<T>(read: () => T | Promise<T>, ...codes: ErrorCode[]): Promise<T | CodedError> {
  try {
    return await read();
  } catch (error) {
    if (!isCodedError(error)) throw error;
    expect(codes).toContain(error.code);
    return error as CodedError;
  }
}

/** Text of `tokens` in any order, among other text: nearer to what a parser knows than characters at random. */
export function soup(tokens: readonly string[], maxLength = 40): fc.Arbitrary<string> {
  const token = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...tokens) },
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  return fc.array(token, { maxLength }).map((parts) => parts.join(""));
}

/** `bytes` with some of them changed, and possibly cut. */
export function damaged(bytes: Uint8Array): fc.Arbitrary<Buffer> {
  const place = fc.nat(bytes.length - 1);
  const changes = fc.array(fc.tuple(place, fc.nat(255)), { maxLength: 8 });
  return fc.tuple(changes, fc.option(place)).map(([list, end]) => {
    const copy = Buffer.from(bytes);
    for (const [at, byte] of list) copy[at] = byte;
    return end === null ? copy : copy.subarray(0, end);
  });
}

/** Of the processor, beside what loading and collecting take. A text is read at tens of nanoseconds a byte. */
const [mostPerByte, mostBeside] = [5e-3, 500];
/** Bytes of memory, beside what is garbage. An object of two bytes of JSON takes some eighty. */
const [mostMemoryPerByte, mostMemoryBeside] = [200, 96 * 2 ** 20];
/** A busy machine, and collecting what came before, are not an input's cost. */
const tries = 4;
/** Bytes; with one processor's nanosecond for every pair of them, the small one takes 17 s, where 1.2 s are allowed. */
const largest = isThorough ? 2 ** 20 : 2 ** 17;

/**
 * Reads `input(size)` for sizes that double up to `most`: each may take so much of the processor's time and of memory, at
 * its peak, as its bytes allow, in one try of a few. Work that grows with the square of the size goes past that long before
 * it takes minutes.
 */
export async function expectLinear(
  input: (size: number) => string | Uint8Array,
  read: (text: never) => unknown,
  most = largest,
): Promise<void> {
  for (let size = 2 ** 10; size <= Math.min(most, largest); size *= 2) {
    const text = input(size) as never;
    const limits = {
      milliseconds: mostBeside + mostPerByte * size,
      bytes: mostMemoryBeside + mostMemoryPerByte * size,
    };
    let least = await costOf(() => read(text));
    for (let i = 1; i < tries && !(least.milliseconds < limits.milliseconds && least.bytes < limits.bytes); i++) {
      const next = await costOf(() => read(text));
      least = {
        milliseconds: Math.min(least.milliseconds, next.milliseconds),
        bytes: Math.min(least.bytes, next.bytes),
      };
    }
    expect(least.milliseconds, `milliseconds for size ${size}`).toBeLessThan(limits.milliseconds);
    expect(least.bytes, `bytes of memory for size ${size}`).toBeLessThan(limits.bytes);
  }
}

interface Cost {
  readonly milliseconds: number;
  readonly bytes: number;
}

async function costOf(work: () => unknown): Promise<Cost> {
  const memory = memoryPeak();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { milliseconds: (user + system) / 1000, bytes: memory() };
}

/**
 * Begins to watch this process's resident memory, V8's heap and all else; what is returned gives the bytes by which its
 * peak has been higher since. Linux; elsewhere, a peak above all earlier ones.
 */
function memoryPeak(): () => number {
  const highest = () => process.resourceUsage().maxRSS * 1024;
  try {
    // proc(5): sets the peak back to what is resident now.
    writeFileSync("/proc/self/clear_refs", "5");
    const before = process.memoryUsage.rss();
    return () => peakSinceReset() - before;
  } catch {
    const before = highest();
    return () => highest() - before;
  }
}

function peakSinceReset(): number {
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "latin1"))![1]) * 1024;
}
