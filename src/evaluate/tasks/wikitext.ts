import { perplexities } from "../metrics/metric.ts";
import { scorePerplexities } from "../metrics/perplexities.ts";
import { pythonRegExp } from "../python-regexp.ts";
import { strip } from "../python-text.ts";
import { readTexts } from "../row-reader.ts";
import type { RollingTask } from "../task.ts";

/** WikiText-2 (Merity et al. 2016), one document per article, as lm-eval's `wikitext`, version 2. */
export const wikitext: RollingTask = {
  kind: "loglikelihood_rolling",
  name: "wikitext",
  version: 2,
  summary: "WikiText-2 raw: perplexity over whole articles",
  files: {
    root: "data",
    hub: { repo: "EleutherAI/wikitext_document_level", config: "wikitext-2-raw-v1" },
    splits: {
      test: ["wikitext-2-raw/wiki.test.raw"],
      validation: ["wikitext-2-raw/wiki.valid.raw"],
      train: ["wikitext-2-raw/wiki.train.raw"],
    },
    defaultSplit: "test",
    parse: (text) => splitPages(text).map((page) => ({ page })),
  },
  fewshot: { from: "none", count: 0 },
  metrics: perplexities,
  readRow: (doc, where) => {
    const { page } = readTexts(doc, ["page"], where);
    return { doc, text: detokenize(page), countedText: page };
  },
  score: scorePerplexities,
};

/** An article begins at a line " = Title = "; deeper headings have more signs. */
export function splitPages(text: string): string[] {
  const pages: string[][] = [];
  for (const line of text.split("\n")) {
    const heading = strip(line.replaceAll("= = =", "===").replaceAll("= =", "=="));
    if (pages.length === 0 || (heading.startsWith("= ") && heading.endsWith(" ="))) pages.push([]);
    pages.at(-1)!.push(line);
  }
  return pages.map((lines) => lines.join("\n")).filter((page) => strip(page) !== "");
}

type Rule = readonly [from: string | RegExp, to: string];

const rules: readonly Rule[] = [
  ["s '", "s'"],
  [" @-@ ", "-"],
  [" @,@ ", ","],
  [" @.@ ", "."],
  ...[":", ";", ".", "!", "?", ","].map((sign): Rule => [` ${sign} `, `${sign} `]),
  [pythonRegExp(String.raw`\(\s*([^\)]*?)\s*\)`, "g"), "($1)"],
  [pythonRegExp(String.raw`\[\s*([^\]]*?)\s*\]`, "g"), "[$1]"],
  [pythonRegExp(String.raw`\{\s*([^\}]*?)\s*\}`, "g"), "{$1}"],
  [pythonRegExp(String.raw`"\s*([^"]*?)\s*"`, "g"), '"$1"'],
  [pythonRegExp(String.raw`'\s*([^']*?)\s*'`, "g"), "'$1'"],
  ["= = = =", "===="],
  ["= = =", "==="],
  ["= =", "=="],
  [" ° ", "°"],
  [" \n", "\n"],
  ["\n ", "\n"],
  [" N ", " 1 "],
  [" 's", "'s"],
];

/** Undoes the tokenised spelling of the data set, rule by rule in lm-eval's order. */
function detokenize(page: string): string {
  return rules.reduce((text, [from, to]) => text.replaceAll(from, to), page);
}
