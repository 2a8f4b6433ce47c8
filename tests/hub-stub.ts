import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A repository as the stub has it; files of at least `lfsFrom` bytes are large ones, which redirect to another host. */
export interface StubRepo {
  readonly files: Readonly<Record<string, Buffer>>;
  readonly license?: string;
  /** Only this token reads it. */
  readonly token?: string;
  readonly isGated?: boolean;
  /** Of a data set: what the hub made of it in `refs/convert/parquet`. */
  readonly converted?: Readonly<Record<string, Buffer>>;
}

export interface HubStub {
  readonly url: string;
  /** "GET /path" of all requests to both hosts, with the range and whether a token came. */
  readonly requests: { readonly path: string; readonly range: string | null; readonly hasToken: boolean }[];
  /** The connection of the next answer to a download breaks after so many bytes, for each entry. */
  readonly breaks: number[];
  /** Changes what a download brings. */
  tamper: (path: string, bytes: Buffer) => Buffer;
  ignoresRanges: boolean;
  close(): Promise<void>;
}

export const stubCommit = "0123456789abcdef0123456789abcdef01234567";
/** The commit of converted data sets. */
export const convertedCommit = "89abcdef0123456789abcdef0123456789abcdef";
const lfsFrom = 1024;

/**
 * A Hugging Face hub of a few repositories on loopback, with a second server that stands for its CDN. Names of data sets
 * begin with `datasets/`.
 */
export async function startHubStub(repos: Readonly<Record<string, StubRepo>>): Promise<HubStub> {
  const stub = {
    requests: [] as HubStub["requests"],
    breaks: [] as number[],
    tamper: (_path: string, bytes: Buffer) => bytes,
    ignoresRanges: false,
  };
  const note = (request: IncomingMessage): void => {
    stub.requests.push({
      path: request.url ?? "",
      range: request.headers.range ?? null,
      hasToken: request.headers.authorization !== undefined,
    });
  };
  const cdn = createServer((request, response) => {
    note(request);
    const { repo, revision, path } = placeOf((request.url ?? "").slice(1));
    send(request, response, stub.tamper(path, filesAt(repos[repo]!, revision)[path]!));
  });
  const hub = createServer((request, response) => {
    note(request);
    answer(request, response);
  });
  const cdnUrl = await listen(cdn);
  const url = await listen(hub);

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? "", url);
    const isApi = pathname.startsWith("/api/");
    const { repo: id, kind, revision, path } = placeOf(pathname.replace(/^\/(api\/(models\/)?)?/, ""));
    const repo = repos[id];
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (repo === undefined || (repo.token !== undefined && repo.token !== token && repo.isGated !== true)) {
      return json(response, token === undefined ? 401 : 404, { error: "Repository not found" });
    }
    if (repo.isGated === true && repo.token !== token) {
      response.setHeader("x-error-code", "GatedRepo");
      return json(response, 403, { error: `Access to ${id} is restricted` });
    }
    const isConverted = repo.converted !== undefined && isConvertedRevision(revision);
    if (!["main", "v1", "HEAD", stubCommit].includes(revision) && !isConverted)
      return json(response, 404, { error: `Invalid rev id: ${revision}; revision not found` });
    if (isApi && kind === "revision") {
      return json(response, 200, {
        _id: "1",
        id,
        sha: isConverted ? convertedCommit : stubCommit,
        gated: repo.isGated === true ? "manual" : false,
        lastModified: "2026-01-01T00:00:00Z",
        cardData: repo.license === undefined ? {} : { license: repo.license },
        tags: [],
      });
    }
    const files = filesAt(repo, revision);
    if (isApi) return json(response, 200, Object.entries(files).map(toEntry));
    const bytes = files[path];
    if (bytes === undefined) return json(response, 404, { error: "Entry not found" });
    if (bytes.length < lfsFrom) return send(request, response, stub.tamper(path, bytes));
    response.writeHead(302, { location: `${cdnUrl}/${id}/lfs/${revision}/${path}` }).end();
  }

  function send(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
    const range = stub.ignoresRanges ? null : /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const start = Number(range?.[1] ?? 0);
    const body = bytes.subarray(start);
    const headers = {
      "content-length": body.length,
      "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
    };
    response.writeHead(range === null ? 200 : 206, headers);
    const end = stub.breaks.shift();
    if (end === undefined || end >= body.length) {
      response.end(body);
      return;
    }
    response.write(body.subarray(0, end), () => response.destroy());
  }

  return Object.assign(stub, {
    url,
    close: async () => {
      for (const server of [hub, cdn]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  });
}

/** ORG/NAME/KIND/REVISION/PATH, or the same below `datasets/`. */
function placeOf(place: string): Readonly<Record<"repo" | "kind" | "revision" | "path", string>> {
  const parts = place.split("/").map(decodeURIComponent);
  const numNames = parts[0] === "datasets" ? 3 : 2;
  const [kind = "", revision = "", ...rest] = parts.slice(numNames);
  return { repo: parts.slice(0, numNames).join("/"), kind, revision, path: rest.join("/") };
}

function isConvertedRevision(revision: string): boolean {
  return revision === "refs/convert/parquet" || revision === convertedCommit;
}

function filesAt({ files, converted }: StubRepo, revision: string): Readonly<Record<string, Buffer>> {
  return converted !== undefined && isConvertedRevision(revision) ? converted : files;
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function toEntry([path, bytes]: [string, Buffer]): object {
  const oid = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  const lfs = { oid: createHash("sha256").update(bytes).digest("hex"), size: bytes.length, pointerSize: 130 };
  return { type: "file", path, size: bytes.length, oid, ...(bytes.length < lfsFrom ? {} : { lfs }) };
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Makes the process, and commands that it starts, use the stub and a cache of its own; what is returned undoes it. */
export function useHubStub({ url }: HubStub, cacheDir: string): () => void {
  const names = ["HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE"];
  const before = names.map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, { HF_ENDPOINT: url, HF_HUB_CACHE: cacheDir });
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}
