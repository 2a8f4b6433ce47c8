import { readFileSync } from "node:fs";
import { parser } from "@prometheus-io/lezer-promql";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { MillraceError } from "../../src/base/errors.ts";
import { createServerApp } from "../../src/server/app.ts";
import { ServerContext } from "../../src/server/server-context.ts";
import { createServedFake, replying } from "../served-fake.ts";
import { repositoryPath } from "../test-data.ts";

interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

interface Selector {
  readonly name: string;
  readonly matchers: readonly Matcher[];
}

interface Series {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/** What a query asks for: the series that it selects, and the labels that it sums by. */
function readQuery(query: string): { readonly selectors: Selector[]; readonly by: string[] } {
  const selectors: Selector[] = [];
  const by: string[] = [];
  parser.parse(query).iterate({
    enter: ({ name, node, from, to }) => {
      const text = (type: string): string => {
        const child = node.getChild(type);
        return child === null ? "" : query.slice(child.from, child.to);
      };
      if (node.type.isError) throw new Error(`not PromQL at ${from} to ${to}: ${query}`);
      if (name === "VectorSelector") {
        const matchers = node.getChild("LabelMatchers")?.getChildren("UnquotedLabelMatcher") ?? [];
        selectors.push({
          name: text("Identifier"),
          matchers: matchers.map((matcher) => {
            const [, label, operator, value] = /^(\w+)\s*([=!~]+)\s*"(.*)"$/.exec(
              query.slice(matcher.from, matcher.to),
            )!;
            return { label: label!, operator: operator!, value: value! };
          }),
        });
      }
      if (name === "GroupingLabels") {
        by.push(...node.getChildren("LabelName").map((label) => query.slice(label.from, label.to)));
      }
    },
  });
  return { selectors, by };
}

/** Prometheus' text form. */
function readSeries(text: string): Series[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name, labels = "", value] = /^([\w:]+)(?:\{(.*)\})? (\S+)$/.exec(line)!;
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
        ([, key, held]): [string, string] => [key!, held!],
      );
      return { name: name!, labels: new Map(pairs), value: Number(value) };
    });
}

function fits({ label, operator, value }: Matcher, labels: ReadonlyMap<string, string>): boolean {
  const held = labels.get(label) ?? "";
  const isEqual = operator.endsWith("~") ? new RegExp(`^(?:${value})$`).test(held) : held === value;
  return operator.startsWith("!") ? !isEqual : isEqual;
}

/** What a server shows that has seen every kind of request. */
async function scrape(): Promise<Series[]> {
  const fake = createServedFake({
    ...replying("abcdef"),
    numCachedTokens: 1,
    stats: {
      numPreemptions: 1,
      prefixCacheQueries: 9,
      prefixCacheHits: 3,
      numDraftTokens: 2,
      numAcceptedTokens: 1,
    },
    fail: ({ promptTokenIds }) =>
      promptTokenIds[0] === 1 ? new MillraceError("engine_overloaded", "x") : undefined,
  });
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  const ask = (prompt: unknown) =>
    app.request("/v1/completions", { method: "POST", body: JSON.stringify({ prompt, max_tokens: 9 }) });
  await ask("good");
  await ask([1]);
  await ask(5);
  return readSeries(await (await app.request("/metrics")).text());
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string }[];
  }[];
}

const read = (name: string): string => readFileSync(repositoryPath("deploy", "monitoring", name), "utf8");
const dashboard = JSON.parse(read("grafana-dashboard.json")) as Dashboard;
const rules = parse(read("prometheus-rules.yml")) as Rules;

const queries = [
  ...dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }): [string, string] => [title, expr]),
  ),
  ...rules.groups.flatMap((group) => group.rules.map(({ alert, expr }): [string, string] => [alert, expr])),
].map(([place, query]): [string, string] => [
  place,
  query.replaceAll("$__rate_interval", "5m").replaceAll("$model", ".*"),
]);

let series: Series[] = [];

beforeAll(async () => {
  series = await scrape();
});

describe("every query of the dashboard and the alerts", () => {
  test.each(queries)("%s: %s", (_, query) => {
    const { selectors, by } = readQuery(query);
    // Prometheus itself makes `up`.
    const ours = selectors.filter(({ name }) => name !== "up");
    expect(selectors.length).toBeGreaterThan(0);
    for (const { name, matchers } of ours) {
      const found = series.filter((one) => one.name === name && matchers.every((m) => fits(m, one.labels)));
      expect(found, `${name} ${JSON.stringify(matchers)}`).not.toEqual([]);
      for (const label of by) expect(found.every(({ labels }) => labels.has(label))).toBe(true);
    }
  });

  test("is refused where it asks for what is not there", () => {
    const { selectors, by } = readQuery('sum by (model_name) (rate(vllm:odd_total{a=~"b|c"}[5m]))');
    expect(selectors).toEqual([
      { name: "vllm:odd_total", matchers: [{ label: "a", operator: "=~", value: "b|c" }] },
    ]);
    expect(by).toEqual(["model_name"]);
    expect(() => readQuery("sum by (rate(")).toThrow("not PromQL");
  });
});
