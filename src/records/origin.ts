import os from "node:os";
import { z } from "zod";
import { buildId } from "../base/build-id.ts";
import { version } from "../base/version.ts";

/** When a figure was measured, on which machine and with which program. */
export const originSchema = z.object({
  /** UTC, ISO 8601. */
  startedAt: z.iso.datetime(),
  durationMs: z.number().nonnegative(),
  /** Model and number of cores of the machine that wrote the record. */
  processor: z.string(),
  /** Backend, instruction set and threads that computed; null where no kernels did, or those of an unknown server. */
  kernels: z.string().nullable(),
  /** Version of Node. */
  node: z.string(),
  /** Version of Millrace. */
  version: z.string(),
  /** Hash of Millrace's code and kernels: builds of one version differ in it. */
  build: z.string(),
});
export type Origin = z.infer<typeof originSchema>;

/** What a result depends on besides its inputs: the machine and the program that run now. */
export function describeProgram(): Pick<Origin, "processor" | "node" | "version" | "build"> {
  const processor = `${os.cpus()[0]?.model ?? "unknown"}, ${os.availableParallelism()} cores`;
  return { processor, node: process.version, version, build: buildId() };
}

/** Begins a measurement; the function that it gives back ends it. */
export function startOrigin(kernels: string | null): () => Origin {
  const startedAt = new Date().toISOString();
  const started = performance.now();
  return () => ({
    startedAt,
    durationMs: Math.round(performance.now() - started),
    kernels,
    ...describeProgram(),
  });
}

/** What ended a measurement before its time: Ctrl-C, or a fault such as a server that is gone. */
export const earlyEndSchema = z.enum(["interrupted", "failed"]);
export type EarlyEnd = z.infer<typeof earlyEndSchema>;
