import { z } from "zod";
import { field } from "../config/component.ts";

/** A line end would begin another header. */
const token = z
  .string()
  .trim()
  .regex(/^[\x20-\x7e]*$/, "it takes a key of visible ASCII characters in one line")
  .optional();

/** `--api-key` of a command that asks servers, or OPENAI_API_KEY. */
export function apiKeyField(summary: string) {
  return field("--api-key <key>", token, summary, { env: "OPENAI_API_KEY" });
}
