const variable = "MILLRACE_SUPERVISED";

/** Whether this process was started by the parent that `--restart` makes. */
export function isSupervised(): boolean {
  return process.env[variable] === "1";
}

/** The environment of such a process. */
export function supervisedEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, [variable]: "1" };
}
