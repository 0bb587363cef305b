import { isPublished } from "../name.ts";
import type { Metadata } from "./metadata.ts";

/** Where converters note the repository that a file's weights came from, before the one that the file lies in. */
const repositories = ["general.source.huggingface.repository", "general.source.repo_url", "general.repo_url"];

/**
 * The name that a GGUF header gives its model: Hugging Face's repository where one is named, else `general.name` or
 * `general.basename` in one word ("Smollm2-135M"); null where neither can be a published name (a path, say).
 */
export function givenName(metadata: Metadata): string | null {
  for (const key of repositories) {
    const name = metadata.text(key)?.replace(/^https:\/\/huggingface\.co\//, "");
    if (name !== undefined && name.split("/").length === 2 && isPublished(name)) return name;
  }
  for (const key of ["general.name", "general.basename"]) {
    const name = metadata.text(key)?.trim().replace(/\s+/g, "-");
    if (name !== undefined && name.length <= 96 && !name.includes("/") && isPublished(name)) return name;
  }
  return null;
}
