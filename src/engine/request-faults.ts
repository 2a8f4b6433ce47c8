import { MillraceError, messageOf } from "../base/errors.ts";

/** The error of a field whose value is not allowed. `message` says value, what is allowed and what to do. */
export function invalidRequest(param: string, message: string): MillraceError {
  return new MillraceError("invalid_request", message, { param });
}

/** Errors: `invalid_request` for an id outside the vocabulary. */
export function checkTokenIds(ids: readonly number[] | Int32Array, param: string, vocabSize: number): void {
  for (let index = 0; index < ids.length; index += 1) {
    const id = ids[index]!;
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw invalidRequest(
      param,
      `Token ${index} of ${param} is ${id}; ids are 0 to ${vocabSize - 1}. Encode the text with this model's own tokenizer.`,
    );
  }
}

/** Errors: `invalid_request` unless `isAllowed`; `allowed` completes "it takes …". */
export function checkRange(param: string, value: unknown, isAllowed: boolean, allowed: string): void {
  if (isAllowed) return;
  throw invalidRequest(
    param,
    `${param} is ${String(value)}; it takes ${allowed}. Change it or leave it out.`,
  );
}

/** The error of a request for which the model gave NaN; `what` it gave is a logit or a vector. */
export function notFinite(what: string): MillraceError {
  return new MillraceError(
    "model_not_finite",
    `The model gave a ${what} that is not a number: a value overflowed, or the weights hold NaN or infinity. Run with ` +
      "--activations f32; if that does not help, fetch or convert the model again. `millrace quantize` reads every " +
      "weight, names the first tensor at fault and then writes nothing.",
  );
}

/** The error of the requests whose step threw. */
export function stepFailed(cause: unknown): MillraceError {
  return new MillraceError(
    "engine_failed",
    `A step failed: ${messageOf(cause)}. The requests in it have ended; others go on. Report this with the log.`,
    { cause },
  );
}

/** The error of all requests when the engine's own books may be wrong. */
export function engineStopped(cause: unknown): MillraceError {
  return new MillraceError(
    "engine_failed",
    `The engine stopped: ${messageOf(cause)}. Restart it and report this with the log.`,
    { cause },
  );
}
