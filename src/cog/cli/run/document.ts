import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CodedError, type ErrorCode } from "../../../errors/index.ts";
import { Failure } from "../../../terminal/failure.ts";
import type { ModelDocument } from "../input/schema.ts";
import type { DocumentAnswer, DocumentRequest } from "./document-process.ts";
import type { LocalModel } from "./local.ts";

/**
 * The OpenAPI document of a project, without its model: the author's files are loaded in a process of their own that ends at once.
 * So a wrong input is found before gigabytes of weights are read.
 * @throws CodedError or Failure when the declaration cannot be loaded
 */
export async function localDocument({ project, env, mode }: LocalModel, signal?: AbortSignal): Promise<ModelDocument> {
  const child = fork(fileURLToPath(new URL("./document-process.js", import.meta.url)), {
    cwd: project.dir,
    env: { ...Object.fromEntries(project.environment), ...env },
    // What a module prints while it is loaded is not a result.
    stdio: ["ignore", 2, 2, "ipc"],
    signal,
    killSignal: "SIGKILL",
  });
  const answer = await new Promise<DocumentAnswer>((resolve, reject) => {
    child.once("message", (message) => resolve(message as DocumentAnswer));
    child.once("error", reject);
    child.once("exit", (code, name) =>
      reject(
        new Failure(`The declarations in ${project.dir} could not be loaded: the process ended with ${name ?? code}`),
      ),
    );
    child.send({
      predict: project.predict,
      train: project.train,
      trainOutput: project.trainOutput,
      needed: mode,
    } satisfies DocumentRequest);
  });
  if (answer.document) return answer.document;
  const { code, message, hint } = answer.error;
  throw code === undefined ? new Failure(message, { hint }) : new CodedError(code as ErrorCode, message, { hint });
}
