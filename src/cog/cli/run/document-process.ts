import { isCodedError } from "../../../errors/index.ts";
import type { Reference } from "../../project.ts";
import { openApiDocument } from "../../schema/openapi.ts";
import { errorText, stackText } from "../../worker/errors.ts";
import { loadPredictor } from "../../worker/load.ts";
import type { ModelDocument } from "../input/schema.ts";

export interface DocumentRequest {
  predict: Reference | null;
  train: Reference | null;
  trainOutput: string | null;
  /** The one of the two that must load; the other is left out of the document if it does not. */
  needed: "predict" | "train";
}

export type DocumentAnswer =
  | { document: ModelDocument; error?: undefined }
  | { document?: undefined; error: { code?: string; message: string; hint?: string } };

// The process that run/document.ts starts: loads the declarations, answers with the document, ends.
process.once("message", async (request: DocumentRequest) => {
  const answer = await documentOf(request);
  process.send!(answer, () => process.exit(0));
});

async function documentOf({ predict, train, trainOutput, needed }: DocumentRequest): Promise<DocumentAnswer> {
  const load = async (reference: Reference | null, mode: DocumentRequest["needed"]) => {
    if (reference === null) return null;
    const loading = loadPredictor(reference, mode === "predict" ? "predictor" : "trainer");
    return mode === needed ? loading : loading.catch(() => null);
  };
  try {
    const document = openApiDocument(await load(predict, "predict"), await load(train, "train"), trainOutput);
    return { document: document as ModelDocument };
  } catch (error) {
    if (isCodedError(error)) return { error: { code: error.code, message: error.message, hint: error.hint } };
    return { error: { message: stackText(error) ?? errorText(error) } };
  }
}
