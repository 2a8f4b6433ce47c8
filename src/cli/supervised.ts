/** What the parent that `--restart` makes and its child tell each other. */
const marker = "MILLRACE_SUPERVISED";
const portVariable = "MILLRACE_SUPERVISED_PORT";

export const supervisedVariables: readonly string[] = [marker, portVariable];

/** Whether this process was started by such a parent. */
export function isSupervised(): boolean {
  return process.env[marker] === "1";
}

/**
 * The environment of a child.
 *
 * @param port where the one before it listened; undefined for the first
 */
export function supervisedEnvironment(port: number | undefined): NodeJS.ProcessEnv {
  const own = port === undefined ? {} : { [portVariable]: String(port) };
  return { ...process.env, [marker]: "1", ...own };
}

/** The port to listen on: a free one that was found once is kept, so that clients find the server after a crash. */
export function portToBind(port: number): number {
  const before = isSupervised() ? process.env[portVariable] : undefined;
  return port === 0 && before !== undefined ? Number(before) : port;
}

/** Tells the parent, where there is one, which port was bound. */
export function tellPort(port: number): void {
  if (isSupervised()) process.send?.({ port });
}

/** The port in a child's message; undefined where it has none. */
export function toldPort(message: unknown): number | undefined {
  const { port } = (message ?? {}) as { readonly port?: unknown };
  return typeof port === "number" ? port : undefined;
}
