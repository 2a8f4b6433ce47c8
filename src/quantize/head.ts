import { MillraceError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { LinearShape } from "./scheme.ts";

/** What the head takes, for the report. */
export interface HeadSizes {
  readonly module: string;
  /** In bf16, and in int8 with a scale for each row. */
  readonly bytes: number;
  readonly int8Bytes: number;
  /** What it became: "bf16", "int8", "Q6_K". */
  readonly form: string;
  readonly formBytes: number;
}

/** `bytes` of its form, or null for bf16 and int8. */
export function headSizes(
  { module, rows, cols }: LinearShape,
  form: string,
  bytes: number | null,
): HeadSizes {
  const [bf16Bytes, int8Bytes] = [2 * rows * cols, rows * (cols + 2)];
  const formBytes = bytes ?? (form === "int8" ? int8Bytes : bf16Bytes);
  return { module, bytes: bf16Bytes, int8Bytes, form, formBytes };
}

/** The matrix of the head: the embedding where they are tied. */
export function findHead({ path }: Checkpoint, dense: readonly LinearShape[]): LinearShape {
  const head =
    dense.find(({ module }) => module === "lm_head") ??
    dense.find(({ module }) => module === "model.embed_tokens");
  if (head !== undefined) return head;
  throw new MillraceError(
    "tensor_missing",
    `${path} has neither lm_head nor model.embed_tokens. A language model has at least one. Fetch the model again.`,
  );
}

/** The line of a report that says what another form of the head would save, or saved. */
export function describeHead({ module, bytes, int8Bytes, form, formBytes }: HeadSizes): string {
  if (form === "bf16") {
    return `${module} takes ${formatBytes(bytes)} in bf16; --head int8 would save ${formatBytes(bytes - int8Bytes)}.`;
  }
  return `${module} takes ${formatBytes(formBytes)} in ${form}, ${formatBytes(bytes - formBytes)} less than in bf16.`;
}
