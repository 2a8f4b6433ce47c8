import { MillraceError } from "../base/errors.ts";

type Json = Readonly<Record<string, unknown>>;

/** How token texts turn into bytes, read from the `decoder` of tokenizer.json. */
export interface TokenDecoding {
  /** Bytes of one ordinary token. */
  readonly bytesOf: (token: string) => Uint8Array;
  /** Whether decoding a whole sequence drops one space at its start (SentencePiece's prefix). */
  readonly stripsLeadingSpace: boolean;
}

/**
 * Byte-level BPE, SentencePiece pieces ("▁" for spaces, "<0x0A>" for bytes), or WordPiece ("##" joins to the word
 * before; spaces before punctuation stay, as without the library's clean-up).
 * Throws `unsupported_format` for other decoders (CTC …).
 */
export function tokenDecoding(decoder: unknown): TokenDecoding {
  const parts = flatten(decoder);
  const has = (type: string): boolean => parts.some((part) => part["type"] === type);
  if (has("ByteLevel")) return { bytesOf: byteLevelBytes(), stripsLeadingSpace: false };
  const metaspace = parts.find((part) => part["type"] === "Metaspace");
  const strip = parts.find((part) => part["type"] === "Strip");
  if (metaspace !== undefined || has("ByteFallback")) {
    const schemeStrips =
      metaspace !== undefined &&
      metaspace["prepend_scheme"] !== "never" &&
      metaspace["add_prefix_space"] !== false;
    return {
      bytesOf: pieceBytes,
      stripsLeadingSpace: schemeStrips || (strip?.["start"] === 1 && strip["content"] === " "),
    };
  }
  const wordPiece = parts.find((part) => part["type"] === "WordPiece");
  if (wordPiece !== undefined) {
    const prefix = typeof wordPiece["prefix"] === "string" ? wordPiece["prefix"] : "##";
    const bytesOf = (token: string): Uint8Array =>
      encoder.encode(token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`);
    return { bytesOf, stripsLeadingSpace: true };
  }
  throw new MillraceError(
    "unsupported_format",
    `The tokenizer's decoder is ${parts.map((part) => String(part["type"])).join(", ") || "none"}; ByteLevel, ByteFallback or Metaspace, and WordPiece are read. Use a model with such a tokenizer.`,
  );
}

function flatten(decoder: unknown): Json[] {
  if (typeof decoder !== "object" || decoder === null) return [];
  const part = decoder as Json;
  return part["type"] === "Sequence" && Array.isArray(part["decoders"])
    ? part["decoders"].flatMap(flatten)
    : [part];
}

const encoder: InstanceType<typeof TextEncoder> = new TextEncoder();

/** Characters stand for bytes (GPT-2's table): printable Latin-1 for itself, the rest from U+0100 upwards. */
function byteLevelBytes(): (token: string) => Uint8Array {
  const byteOf = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte += 1) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    byteOf.set(String.fromCharCode(isPrintable ? byte : next), byte);
    if (!isPrintable) next += 1;
  }
  return (token) => {
    const bytes = Array.from(token, (character) => byteOf.get(character));
    return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : encoder.encode(token);
  };
}

function pieceBytes(token: string): Uint8Array {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return byte === null
    ? encoder.encode(token.replaceAll("▁", " "))
    : Uint8Array.of(Number.parseInt(byte[1]!, 16));
}
