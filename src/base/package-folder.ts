import { fileURLToPath } from "node:url";

const folder = new URL("../../", import.meta.url);

/** Where something of the package lies: its folder is two up from src/base, dist/base and dist/bundle alike. */
export function packagePath(name: string): string {
  return fileURLToPath(new URL(name, folder));
}
