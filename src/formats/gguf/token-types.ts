/** `tokenizer.ggml.token_type` values. */
export const tokenType = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;
