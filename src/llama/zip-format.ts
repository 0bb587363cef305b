// Records of zip archives: what each begins with, and its bytes without what is of any length.
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

export const localSignature = 0x04034b50;
export const localBytes = 30;
export const entrySignature = 0x02014b50;
export const entryBytes = 46;
export const endSignature = 0x06054b50;
export const endBytes = 22;
export const wideEndSignature = 0x06064b50;
export const wideEndBytes = 56;
export const wideLocatorSignature = 0x07064b50;
export const wideLocatorBytes = 20;

/** Stands for sizes and places that do not fit into 32 bits: they are in an extra field (zip64). */
export const wide = 0xffffffff;
/** ID of that field; ID and length of any. */
export const wideField = 1;
export const fieldHeader = 4;
