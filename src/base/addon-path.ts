import { fileURLToPath } from "node:url";

/** The compiled kernels, two folders up from src/base and dist/base alike. They need not be there. */
export const addonPath: string = fileURLToPath(new URL("../../build/native/millrace.node", import.meta.url));
