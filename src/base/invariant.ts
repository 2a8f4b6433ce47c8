/** States what must hold if our own code is right. A failure is a bug in Millrace, never a user's mistake. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Internal fault: ${message}`);
}
