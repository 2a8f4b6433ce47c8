/**
 * Whether two LaTeX answers of the MATH data set are the same text after its authors' normalisation (Hendrycks et al.
 * 2021, `is_equiv`). Where one of them cannot be normalised, the raw texts are compared.
 */
export function areEquivalent(first: string, second: string): boolean {
  const [a, b] = [normalizeMath(first), normalizeMath(second)];
  return a === null || b === null ? first === second : a === b;
}

/** The part between the first and the last dollar sign, or everything where there are fewer than two. */
export function betweenDollars(text: string): string {
  const first = text.indexOf("$");
  const last = text.lastIndexOf("$");
  return first === last ? text : text.slice(first + 1, last);
}

/** The content of the last `\boxed` or `\fbox`; null where there is none or its braces do not close. */
export function lastBoxed(solution: string): string | null {
  if (solution.includes("\\boxed ")) return solution.split("\\boxed ").at(-1)!.split("$", 1)[0]!;
  const boxed = solution.lastIndexOf("\\boxed");
  const start = boxed === -1 ? solution.lastIndexOf("\\fbox") : boxed;
  if (start === -1) return null;
  const end = closingBrace(solution, start);
  const box = end === -1 ? "" : solution.slice(start, end + 1);
  return box.startsWith("\\boxed{") ? box.slice("\\boxed{".length, -1) : null;
}

function closingBrace(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    if (text[at] === "{") depth += 1;
    if (text[at] !== "}") continue;
    depth -= 1;
    if (depth === 0) return at;
  }
  return -1;
}

/** Null for a text that the normalisation gives up on. */
function normalizeMath(text: string): string | null {
  let rest = text
    .replaceAll("\n", "")
    .replaceAll("\\!", "")
    .replaceAll("\\\\", "\\")
    .replaceAll("tfrac", "frac")
    .replaceAll("dfrac", "frac")
    .replaceAll("\\left", "")
    .replaceAll("\\right", "")
    .replaceAll("^{\\circ}", "")
    .replaceAll("^\\circ", "")
    .replaceAll("\\$", "");
  // Units stand behind the answer, once.
  const parts = rest.split("\\text{ ");
  if (parts.length > 2) return null;
  rest = parts[0]!.replaceAll("\\%", "").replaceAll(" .", " 0.").replaceAll("{.", "{0.");
  if (rest === "") return rest;
  if (rest.startsWith(".")) rest = `0${rest}`;
  const sides = rest.split("=");
  if (sides.length === 2 && sides[0]!.length <= 2) rest = sides[1]!;
  const withRoots = braceRoots(rest);
  const withFractions = withRoots === null ? null : braceFractions(withRoots.replaceAll(" ", ""));
  if (withFractions === null) return null;
  return fractionOfSlash(withFractions === "0.5" ? "\\frac{1}{2}" : withFractions);
}

/** `\sqrt3` → `\sqrt{3}` */
function braceRoots(text: string): string | null {
  const [before = "", ...roots] = text.split("\\sqrt");
  if (roots.includes("")) return null;
  return before + roots.map((root) => `\\sqrt${root.startsWith("{") ? root : braceFirst(root)}`).join("");
}

/** `\frac12` → `\frac{1}{2}`, `\frac1{72}` → `\frac{1}{72}` */
function braceFractions(text: string): string | null {
  const [before = "", ...fractions] = text.split("\\frac");
  if (fractions.includes("")) return null;
  let out = before;
  for (const fraction of fractions) {
    if (fraction.startsWith("{")) out += `\\frac${fraction}`;
    // A numerator without denominator: the text stays as it is.
    else if (fraction.length < 2) return text;
    else {
      const [numerator, denominator] = fraction;
      const rest = fraction.slice(2);
      out += `\\frac{${numerator}}${denominator === "{" ? "{" : `{${denominator}}`}${rest}`;
    }
  }
  return out;
}

function braceFirst(text: string): string {
  return `{${text[0]}}${text.slice(1)}`;
}

/** `1/2` → `\frac{1}{2}`; sides that are not whole numbers make the normalisation give up. */
function fractionOfSlash(text: string): string | null {
  const sides = text.split("/");
  if (sides.length !== 2) return text;
  if (!sides.every((side) => /^[+-]?\d+(?:_\d+)*$/.test(side))) return null;
  const isPlain = sides.every((side) => /^(?:-?[1-9]\d*|0)$/.test(side));
  return isPlain ? `\\frac{${sides[0]}}{${sides[1]}}` : text;
}
