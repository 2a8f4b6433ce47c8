import { X509Certificate } from "node:crypto";
import { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import type { TlsTrust } from "../client/tls-trust.ts";
import { type Component, field, type Values } from "../config/component.ts";
import { readText } from "./read-text.ts";

/** Whom a command that asks a server by https believes to be that server. */
export const trustSettings = {
  ca: field(
    "--ca <file>",
    z.string().optional(),
    "PEM file of the certificates that vouch for an https server, in place of the well-known ones",
  ),
  insecure: field(
    "--insecure",
    z.boolean().default(false),
    "take any certificate of an https server; for tests only",
  ),
} satisfies Component;

/** Errors: `file_not_found`, `invalid_option`. */
export function trustOf({ ca, insecure }: Values<typeof trustSettings>): TlsTrust {
  if (ca === undefined) return { insecure };
  const pem = readText(ca);
  try {
    void new X509Certificate(pem);
  } catch (error) {
    throw new MillraceError(
      "invalid_option",
      `${ca} holds no certificate that can be read. --ca takes a PEM file, with BEGIN CERTIFICATE. Give one.`,
      { param: "--ca", cause: error },
    );
  }
  return { ca: pem, insecure };
}
