// Larger reference data than the project carries: golden values, published models and recordings of Cog. Tests that need them
// are skipped where there are none.
import { resolve } from "node:path";

/** REFERENCE_DATA names the folder; by default it is `shared` beside the checkout. */
export const referenceData = resolve(import.meta.dirname, "..", process.env.REFERENCE_DATA || "../shared");
