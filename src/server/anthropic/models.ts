import type { HttpContext } from "../http-context.ts";
import { namesOf, type ServedModel } from "../served-model.ts";

/** Both APIs list models under one path; Anthropic's clients always send their version. */
export function isAnthropic(c: HttpContext): boolean {
  return c.req.header("anthropic-version") !== undefined;
}

export function modelInfo(name: string, model: ServedModel): object {
  const created_at = new Date(model.created * 1000).toISOString();
  return { type: "model", id: name, display_name: model.id, created_at };
}

/** All names on one page. */
export function modelPage(models: readonly ServedModel[]): object {
  const names = models.flatMap((model) => namesOf(model).map((name) => modelInfo(name, model)));
  const ids = models.flatMap(namesOf);
  return { data: names, has_more: false, first_id: ids[0] ?? null, last_id: ids.at(-1) ?? null };
}
