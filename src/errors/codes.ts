/**
 * The one registry of errors a user can meet: stable code -> what it means in general.
 * docs/errors.md has an entry for each; a test keeps the two equal.
 */
export const errorCodes = {
  DATASET_NOT_FOUND: "The dataset file does not exist or cannot be read",
  DATASET_FORMAT: "The dataset is not Alpaca JSON or JSONL, nor an archive that holds one",
  DATASET_EMPTY: "The dataset holds no rows to train on",
  DATASET_ROW_FIELD: "A dataset row lacks a field, or a field has the wrong type",
  ARCHIVE_UNSAFE: "An archive holds an entry that is not a plain file or folder inside it, or is too large",
  CHECKPOINT_NOT_FOUND: "The folder holds no LLaMA checkpoint",
  CHECKPOINT_AMBIGUOUS: "There are several models, or two sets of weights, and nothing says which is meant",
  CHECKPOINT_CONFIG: "config.json is missing a field or holds a value that is not possible",
  CHECKPOINT_UNSUPPORTED: "The checkpoint uses a feature this engine does not have",
  CHECKPOINT_CORRUPT: "A weights file is truncated or damaged",
  CHECKPOINT_TENSOR: "A tensor is missing or has another shape than config.json says",
  TOKENIZER_NOT_FOUND: "The checkpoint folder holds no tokenizer",
  TOKENIZER_UNSUPPORTED: "The tokenizer is of a kind that is not supported",
  TOKENIZER_CORRUPT: "The tokenizer file is damaged",
  TOKENIZER_MISMATCH: "The tokenizer has more pieces than the model has embeddings",
  ADAPTER_NOT_FOUND: "The adapter archive or folder does not exist or holds no adapter",
  ADAPTER_CONFIG: "adapter_config.json is missing a field or holds a value that is not possible",
  ADAPTER_UNSUPPORTED: "The adapter uses a feature that is not supported",
  ADAPTER_CORRUPT: "The adapter's tensor file is truncated or damaged",
  ADAPTER_MISMATCH: "The adapter was made for another model",
  PROMPT_TEMPLATE_UNKNOWN: "There is no prompt template of this name",
  PROMPT_TOO_LONG: "The prompt does not fit into the model's context",
  TRAINING_SETTINGS: "A training setting is outside its limits or contradicts another",
  TRAINING_DIVERGED: "The training made the model worse, or its numbers are no longer finite",
  TRAINING_OUTPUT: "A training's adapter has no room, or cannot be written",
  DISTRIBUTED_ENVIRONMENT: "A launcher's variables for this rank are incomplete, impossible or contradict each other",
  DISTRIBUTED_UNAVAILABLE: "What the ranks need to reach each other is not on this machine",
  DISTRIBUTED_RENDEZVOUS: "The ranks of a training did not meet",
  DISTRIBUTED_MISMATCH: "A rank was given other rows, other settings or another base than rank 0",
  DISTRIBUTED_PEER_LOST: "Another rank of the training has ended",
  DISTRIBUTED_TIMEOUT: "Another rank of the training kept this one waiting for too long",
  ENGINE_UNAVAILABLE: "The chosen engine or device cannot be used on this machine",
  ENGINE_ARGUMENT: "An argument given to the engine is outside its limits",
  LOGITS_NOT_FINITE: "The model's logits are not finite numbers: its weights or the adapter overflow",
  PROJECT_CONFIG: "cog.yaml is missing or holds a value that is not possible",
  SERVER_SETTINGS: "An environment variable of the server holds a value that is not possible",
  LISTEN_FAILED: "The server cannot listen on the address and port it was given",
  PROXY_INVALID: "HTTP_PROXY or HTTPS_PROXY does not hold a proxy's address",
  PREDICTOR_INVALID: "A predictor or trainer is declared in a way that is not possible, or cannot be loaded",
  INPUT_FILE: "A file given as input cannot be fetched or decoded",
  OUTPUT_INVALID: "A predictor returned a value that is not JSON or does not fit its declared output",
  OUTPUT_UPLOAD: "An output file cannot be uploaded",
  METRIC_INVALID: "A metric's name, value or mode breaks the rules for metrics",
  WORKER_DIED: "The process that runs the model ended unexpectedly",
  QUEUE_FULL: "Too many requests wait for room in the key/value cache",
  DEVICE_FAILED: "The GPU or its driver reports a fault",
  DEVICE_LOST: "A fault of the GPU has ended this process's use of it",
  OUT_OF_MEMORY: "The model, its cache or the training state does not fit into memory",
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** After one of these a process can do nothing more of the kind: another one has to take its place. */
export const endsProcess: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["DEVICE_LOST"]);
