/** A line for the person at the terminal. Results go to standard output, everything else here. */
export function say(line = ""): void {
  process.stderr.write(`${line}\n`);
}

/** Writes to standard output; resolves when the text has been taken, so that a slow reader slows the run down. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(text, (error) => (error ? reject(error) : resolve())));
}

export async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
