import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ChoiceTask, GenerationTask } from "../task.ts";
import { TaskData } from "../task-data.ts";
import { chooseTasks } from "./load-tasks.ts";
import { parsePythonList, pythonRepr } from "./python-literal.ts";
import { RowTemplate } from "./template.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-own-"));
  write("rows.jsonl", '{"q": "Why?", "a": "so"}\n{"q": "How?", "a": "thus"}\n');
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

const written = [
  "task: mine",
  "output_type: generate_until",
  "dataset_path: rows.jsonl",
  "test_split: test",
  'doc_to_text: "{{q}}"',
  "doc_to_target: a",
];

const load = (...lines: string[]) => chooseTasks([write("mine.yaml", [...written, ...lines].join("\n"))]);

describe("a task file", () => {
  it("is a task beside the built-in ones, whose data lie beside it", async () => {
    const { names, registry } = await load();
    expect(names).toEqual(["mine"]);
    expect(registry.has("arc_easy")).toBe(true);
    const task = registry.find("mine") as GenerationTask;
    expect(new TaskData(null).questions(task, null)).toMatchObject([
      { text: "Why?", answer: "so" },
      { text: "How?", answer: "thus" },
    ]);
    expect(task.generation).toEqual({ until: ["\n\n"], do_sample: false, temperature: 0, max_gen_toks: 256 });
  });

  it.each([
    ["a Python function", "process_docs: !function utils.clean", 7, "!function"],
    ["an unknown key", "doc_to_txt: q", 7, '"doc_to_txt"'],
    ["an unknown metric", "metric_list:\n  - metric: bleurt", 7, '"bleurt"'],
    [
      "an unknown option of a metric",
      "metric_list:\n  - metric: exact_match\n    ignore_all: true",
      7,
      '"ignore_all"',
    ],
    ["an unknown aggregation", "metric_list:\n  - metric: exact_match\n    aggregation: f1", 7, '"f1"'],
    ["an unknown filter", "filter_list:\n  - name: x\n    filter:\n      - function: custom", 7, '"custom"'],
    [
      "a filter behind take_first",
      "filter_list:\n  - name: x\n    filter:\n      - function: take_first\n      - function: lowercase",
      7,
      "behind take_first",
    ],
    [
      "repeated answers of which none is chosen",
      "repeats: 4\nfilter_list:\n  - name: x\n    filter:\n      - function: lowercase",
      8,
      "leaves several answers",
    ],
    [
      "more answers to choose from than are asked",
      "repeats: 4\nfilter_list:\n  - name: x\n    filter:\n      - function: take_first_k\n        k: 5\n      - function: take_first",
      8,
      "takes 5 answers",
    ],
    [
      "an unknown option of a filter",
      "filter_list:\n  - name: x\n    filter:\n      - function: regex\n        pattern: x",
      7,
      '"pattern"',
    ],
    ["an unknown generation setting", "generation_kwargs:\n  beams: 4", 7, "beams"],
    ["no repeats", "repeats: 0", 7, "repeats"],
    ["a sampler of its own", "fewshot_config:\n  sampler: balanced", 7, "sampler"],
    ["broken YAML", "num_fewshot: [1", 7, "is not YAML"],
  ])("is refused by name and line for %s", async (_what, lines, line, name) => {
    const refusal = expect.objectContaining({
      code: "invalid_task",
      message: expect.stringMatching(
        new RegExp(`mine.yaml:${line}.*${name.replace(/[!"]/g, "\\$&")}`),
      ) as string,
    });
    await expect(load(...lines.split("\n"))).rejects.toEqual(refusal);
  });

  it("is refused for a method of Python's that would not do the same here", async () => {
    await expect(load("description: d", 'gen_prefix: ""', "fewshot_split: test")).resolves.toBeDefined();
    const bad = written.map((line) =>
      line.startsWith("doc_to_text") ? 'doc_to_text: "{{q.zfill(3)}}"' : line,
    );
    const file = write("bad.yaml", bad.join("\n"));
    await expect(chooseTasks([file])).rejects.toThrow(
      /bad.yaml:5 has a template .*\.zfill\(\) is not supported/,
    );
  });

  it("says which row lacks a field that a template names", async () => {
    const { registry } = await load();
    write("rows.jsonl", '{"q": "Why?", "a": "so"}\n{"question": "How?", "a": "thus"}\n');
    expect(() => new TaskData(null).questions(registry.find("mine"), null)).toThrow(
      /row 2, does not fit the template "\{\{q\}\}"/,
    );
  });

  it("reads numbers and lists out of templates only: a field is what it is", async () => {
    write("rows.jsonl", '{"q": "2", "options": ["2", "0"], "a": "0", "l": "[1]"}\n');
    const file = (target: string): string =>
      write(
        "choice.yaml",
        [
          "task: choice",
          "output_type: multiple_choice",
          ...written.slice(2, 4),
          "doc_to_text: q",
          "doc_to_choice: options",
          `doc_to_target: "${target}"`,
        ].join("\n"),
      );
    const goldOf = async (target: string): Promise<unknown> => {
      const { registry } = await chooseTasks([file(target)]);
      return (new TaskData(null).questions(registry.find("choice"), null)[0] as { gold?: number }).gold;
    };
    expect([await goldOf("a"), await goldOf("{{a}}")]).toEqual([1, 0]);
    const { registry } = await load();
    write("rows.jsonl", '{"q": "2", "a": "[1]"}\n');
    expect(new TaskData(null).questions(registry.find("mine"), null)).toMatchObject([{ answer: "[1]" }]);
  });

  it("has a name that can be a part of a file's", async () => {
    const file = write("evil.yaml", ["task: ../mine", ...written.slice(1)].join("\n"));
    await expect(chooseTasks([file])).rejects.toThrow(/evil.yaml:1 sets task to "..\/mine"/);
  });

  it("takes the keys of the files that it includes, and refuses a circle", async () => {
    write("parts/base.yaml", [...written.slice(1, 4), "doc_to_text: other", "num_fewshot: 3"].join("\n"));
    write("child.yaml", "include: parts/base.yaml\ntask: child\ndoc_to_text: q\ndoc_to_target: a\n");
    const { registry } = await chooseTasks([path.join(folder, "child.yaml")]);
    expect(registry.find("child")).toMatchObject({ fewshot: { count: 3, isFixed: false } });
    write("parts/base.yaml", "include: ../child.yaml");
    await expect(chooseTasks([path.join(folder, "child.yaml")])).rejects.toThrow(/is included by itself/);
  });

  it("cannot take the name of a built-in task", async () => {
    const file = write("arc.yaml", ["task: arc_easy", ...written.slice(1)].join("\n"));
    await expect(chooseTasks([file])).rejects.toThrow(/"arc_easy", and there is one of that name/);
  });
});

describe("a group file", () => {
  it("has built-in members, files beside it and tasks of its own, each with its filters", async () => {
    write(
      "mine.yaml",
      [...written, "filter_list:", "  - name: f", "    filter:", "      - function: take_first"].join("\n"),
    );
    const inner = ["  - task: inner", ...written.slice(1).map((line) => `    ${line}`)];
    const group = write(
      "group.yaml",
      [
        "group: all",
        "task:",
        "  - arc_easy",
        "  - mine",
        ...inner,
        "aggregate_metric_list:",
        "  - metric: exact_match",
      ].join("\n"),
    );
    const { names, registry } = await chooseTasks([group]);
    expect(names).toEqual(["all"]);
    const { tasks, groups } = registry.expand(names);
    expect(tasks.map(({ name }) => name)).toEqual(["arc_easy", "mine", "inner"]);
    expect(groups[0]!.metrics).toEqual([
      { key: "exact_match,f", isWeightedBySize: true },
      { key: "exact_match,none", isWeightedBySize: true },
    ]);
  });

  it("is refused for a member that is nowhere and a metric that no member has", async () => {
    const group = (last: string): Promise<unknown> =>
      chooseTasks([write("group.yaml", `group: all\ntask:\n  - arc_easy\n${last}`)]);
    await expect(group("  - nowhere\n")).rejects.toThrow(/group.yaml:2 has the member "nowhere"/);
    await expect(group("aggregate_metric_list:\n  - metric: bleu\n")).rejects.toThrow(
      /bleu, which no member has/,
    );
  });
});

describe("a task module", () => {
  const module = (body: string): Promise<unknown> => chooseTasks([write("mine.mjs", body)]);

  it("that imports what is not there is not itself reported missing", async () => {
    for (const missing of ["./gone.js", "a-package-nobody-has"]) {
      await expect(module(`import "${missing}";`)).rejects.toMatchObject({
        code: "invalid_task",
        message: expect.stringMatching(
          /mine\.mjs cannot be imported: .*(gone\.js|a-package-nobody-has).*npm install millrace/,
        ) as string,
      });
    }
  });

  it("that is not there is", async () => {
    await expect(chooseTasks([path.join(folder, "none.mjs")])).rejects.toMatchObject({
      code: "file_not_found",
    });
  });

  it("exports a task as a plain object", async () => {
    const { names, registry } = await chooseTasks([
      write(
        "mine.mjs",
        `export default {
          kind: "multiple_choice", name: "mine", version: 1, summary: "s",
          files: { root: "anywhere", splits: { test: ["rows.jsonl"] }, defaultSplit: "test" },
          fewshot: { from: "none", count: 0 },
          metrics: [{ name: "acc", higherIsBetter: true, aggregation: { name: "mean", value: () => 0, standardError: () => null } }],
          readRow: (doc) => ({ doc, text: doc.q, answer: doc.a, choices: [doc.a, "no"], gold: 0 }),
          score: () => ({ acc: 1 }),
        };`,
      ),
    ]);
    const task = registry.find(names[0]!) as ChoiceTask;
    expect(new TaskData(null).questions(task, null)).toMatchObject([
      { choices: ["so", "no"] },
      { text: "How?" },
    ]);
  });

  it.each([
    ["nothing", "export const a = 1;", /exports no task as default/],
    ["a task without a name", 'export default { kind: "loglikelihood" };', /default: name: /],
    ["something that cannot run", "throw new Error('broken');", /cannot be imported: broken/],
  ])("is refused for %s", async (_what, body, message) => {
    await expect(module(body)).rejects.toThrow(message);
  });
});

describe("templates", () => {
  const render = (source: string, row: Record<string, unknown>): string =>
    new RowTemplate(source, "f:1").text(row, "row 1");

  it("print and cut as Python's Jinja does", () => {
    expect(render("{{a}} {{b}} {{c}}\n", { a: [1, "it's", null], b: true, c: { k: 0.5 } })).toBe(
      `[1, "it's", None] True {'k': 0.5}\n`,
    );
    expect(render("{% for x in l %}\n{{ x }}\n{% endfor %}", { l: ["a", "b"] })).toBe("\na\n\nb\n");
    expect(
      render("{{' \u001cx'.strip()}}{{'eLSE'.capitalize()}}{{', '.join(l)}}{{l.index('b')}}", {
        l: ["a", "b"],
      }),
    ).toBe("xElsea, b1");
  });

  it("keep a list as a list", () => {
    expect(new RowTemplate("{{l + ['c']}}", "f:1").value({ l: ["a"] }, "row 1")).toEqual(["a", "c"]);
  });
});

describe("Python's lists as text", () => {
  it.each([[[]], [["a", "it's", 'say "x"', "both ' and \""]], [[1, -2.5, true, null, ["in\nner", "ü\\"]]]])(
    "come back from their text: %j",
    (list) => expect(parsePythonList(pythonRepr(list))).toEqual(list),
  );

  it.each(["[a]", "['a'", "'a'", "['a'] x", "[1,, 2]"])("%s is none", (text) => {
    expect(parsePythonList(text)).toBeUndefined();
  });
});
