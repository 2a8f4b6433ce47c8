import { z } from "zod";
import { version } from "../base/version.ts";
import { endpointBodies, takenBy } from "./endpoint-bodies.ts";
import { type HttpContext, jsonResponse } from "./http-context.ts";
import { type Route, type RouteName, routes, shownPath } from "./routes.ts";
import type { ServerContext } from "./server-context.ts";

/** `GET /openapi.json`: paths, bodies and errors of this server, in OpenAPI 3.1. */
export function handleOpenApi(c: HttpContext, context: ServerContext): Response {
  return jsonResponse(c, openApiDocument(context.hasDevEndpoints));
}

/** @param withDev whether to list the paths of --dev-endpoints */
export function openApiDocument(withDev: boolean): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    if (route.isDev === true && !withDev) continue;
    const path = (paths[shownPath(route.path)] ??= {});
    path[route.method.toLowerCase()] = operation(name as RouteName, route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Millrace",
      version,
      description: "Language models over the APIs of OpenAI and Anthropic.",
    },
    paths,
    components: {
      schemas: { Error: errorSchema },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        header: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

const errorSchema = {
  type: "object",
  properties: {
    error: {
      type: "object",
      properties: {
        message: { type: "string" },
        type: { type: "string" },
        param: { type: ["string", "null"] },
        code: { type: "integer" },
        reason: { type: "string" },
      },
      required: ["message", "type"],
    },
  },
  required: ["error"],
};

function operation(name: RouteName, route: Route): object {
  const body = endpointBodies[name];
  const parameters = [...route.path.matchAll(/:(\w+)/g)].map(([, parameter]) => ({
    name: parameter,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const json = (schema: object): object => ({ content: { "application/json": { schema } } });
  return {
    operationId: name,
    summary: route.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, ...json(bodySchema(body.schema)) } }),
    responses: {
      "200": { description: "The answer.", ...json({}) },
      default: { description: "An error.", ...json({ $ref: "#/components/schemas/Error" }) },
    },
    security: route.isOpen === true ? [] : [{ bearer: [] }, { header: [] }],
  };
}

/** A body's schema with the words of its errors as descriptions. */
function bodySchema(schema: z.ZodObject): object {
  const json = z.toJSONSchema(schema, { io: "input", unrepresentable: "any", target: "draft-2020-12" });
  const { $schema: _, ...own } = json;
  const properties = Object.entries(own.properties ?? {}).map(([name, property]) => {
    const description = takenBy(schema.shape[name] as z.ZodType);
    return [name, description === "" ? property : { ...(property as object), description }];
  });
  return { ...own, properties: Object.fromEntries(properties) as object };
}

/** `GET /docs`: the same for people, on one page that loads nothing else. */
export function handleDocs(c: HttpContext, context: ServerContext): Response {
  const rows = Object.entries<Route>(routes)
    .filter(([, route]) => route.isDev !== true || context.hasDevEndpoints)
    .map(([name, route]) => endpointHtml(name as RouteName, route));
  const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Millrace API</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-top:1px solid #ddd}
code{font-size:.9em}summary{cursor:pointer}</style>
<h1>Millrace ${version}</h1><p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>
${rows.join("\n")}</html>`;
  const headers = { ...c.get("headers"), "content-type": "text/html; charset=utf-8" };
  return new Response(page, { headers });
}

function endpointHtml(name: RouteName, { method, path, summary }: Route): string {
  const head = `<b><code>${method} ${escapeHtml(shownPath(path))}</code></b> ${escapeHtml(summary)}`;
  const body = endpointBodies[name];
  if (body === undefined) return `<p>${head}</p>`;
  const rows = Object.entries(body.schema.shape).map(
    ([field, schema]) =>
      `<tr><td><code>${field}</code></td><td>${escapeHtml(takenBy(schema as z.ZodType))}</td></tr>`,
  );
  return `<details><summary>${head}</summary><table>${rows.join("")}</table></details>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
