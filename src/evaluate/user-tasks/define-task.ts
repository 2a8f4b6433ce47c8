import type { Task } from "../task.ts";

/**
 * A task of your own, for the `default` export of a module that `millrace evaluate --tasks ./my-task.js` names. It only
 * checks the types.
 */
export function defineTask<const T extends Task>(task: T): T {
  return task;
}
