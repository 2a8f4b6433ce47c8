import { z } from "zod";
import { type Component, field } from "./component.ts";
import { integer, namedPath } from "./value-schemas.ts";

/** LoRA adapters, under vLLM's flag names. */
export const adapterSettings = {
  enableLora: field(
    "--enable-lora",
    z.boolean().default(false),
    "take adapters while running, by POST /v1/load_lora_adapter; --lora-modules implies it",
  ),
  loraModules: field(
    "--lora-modules <name=path...>",
    z.array(namedPath).default([]),
    "adapters to load at the start, each a folder as PEFT writes it; requests choose one by its name as model",
  ),
  maxLoraRank: field("--max-lora-rank <n>", integer(1, 512).default(16), "highest rank that is taken"),
  maxCpuLoras: field(
    "--max-cpu-loras <n>",
    integer(1, 1024).default(16),
    "most adapters that are loaded at once; any number of them share a batch",
  ),
} satisfies Component;
