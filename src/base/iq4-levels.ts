/** What the sixteen codes of IQ4_NL stand for, rising (ggml, kvalues_iq4nl). Closer together where weights are many. */
export const iq4Levels = Int8Array.of(
  -127,
  -104,
  -83,
  -65,
  -49,
  -35,
  -22,
  -10,
  1,
  13,
  25,
  38,
  53,
  69,
  89,
  113,
);
