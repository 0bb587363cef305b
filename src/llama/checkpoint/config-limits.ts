/** Far above every published model; products of two of them stay exact. */
export const configLimits = { width: 2 ** 20, layers: 1024, heads: 4096, vocabulary: 2 ** 24, positions: 2 ** 24 };
