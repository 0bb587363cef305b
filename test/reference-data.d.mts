export declare const referenceData: string;
