#!/usr/bin/env node
import { freshBundle } from "./bundle.ts";

// The command. Its modules are read from a few files where `npm run build` made them (scripts/bundle.mjs): that takes
// a third of the time.
const bundle = freshBundle();
await (bundle === undefined ? import("./run.ts") : import(bundle));
