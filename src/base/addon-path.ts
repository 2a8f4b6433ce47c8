import { packagePath } from "./package-folder.ts";

/** The compiled kernels. They need not be there. */
export const addonPath: string = packagePath("build/native/millrace.node");
