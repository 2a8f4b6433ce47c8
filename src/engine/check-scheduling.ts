import { MillraceError } from "../base/errors.ts";
import type { RequestScheduling } from "../protocol/engine-client.ts";

/** Longest name of a tenant and longest cache salt, in characters, so that hostile names cost little. */
const maxNameLength = 256;

/**
 * Refuses scheduling fields that have no meaning here. A priority that nothing reads is refused too, since it would
 * be ignored in silence.
 */
export function checkScheduling(scheduling: RequestScheduling, usesPriority: boolean): void {
  const { priority = 0, tenant = "", arrivalMs = 0, deadlineMs, cacheSalt } = scheduling;
  if ((priority | 0) !== priority) {
    throw invalid(
      "priority",
      `priority is ${show(priority)}; it takes a whole number from −2^31 to 2^31 − 1.`,
    );
  }
  if (priority !== 0 && !usesPriority) {
    throw invalid(
      "priority",
      `priority is ${priority}, but this engine reads none, so it takes only 0. Leave it out, or start with ` +
        "--scheduling-policy priority.",
    );
  }
  if (typeof tenant !== "string" || tenant.length > maxNameLength) {
    throw invalid(
      "tenant",
      `tenant is ${show(tenant)}; it takes a name of at most ${maxNameLength} characters.`,
    );
  }
  if (!Number.isFinite(arrivalMs)) {
    throw invalid(
      "arrivalMs",
      `arrivalMs is ${show(arrivalMs)}; it takes a time in milliseconds since 1970. Change it or leave it out.`,
    );
  }
  if (deadlineMs !== undefined && !(Number.isFinite(deadlineMs) && deadlineMs > 0)) {
    throw invalid(
      "deadline_ms",
      `deadline_ms is ${show(deadlineMs)}; it takes a number of milliseconds above 0. Change it or leave it out.`,
    );
  }
  if (cacheSalt === undefined) return;
  if (typeof cacheSalt !== "string" || cacheSalt.length < 1 || cacheSalt.length > maxNameLength) {
    throw invalid(
      "cache_salt",
      `cache_salt is ${show(cacheSalt)}; it takes a text of 1 to ${maxNameLength} characters. Change it or leave it out.`,
    );
  }
}

/** The value seen, without flooding the message. */
function show(value: unknown): string {
  return typeof value === "string" ? `a text of ${value.length} characters` : String(value);
}

function invalid(param: string, message: string): MillraceError {
  return new MillraceError("invalid_request", message, { param });
}
