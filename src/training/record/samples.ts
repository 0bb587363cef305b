/** A prompt, answered by the base and by the trained adapter. */
export interface Sample {
  readonly prompt: string;
  readonly before: string;
  readonly after: string;
}
