import { invariant } from "../../base/invariant.ts";
import type { GatedActivation } from "../ops.ts";
import type { ReferenceTensor } from "./tensor-arena.ts";

/** x · sigmoid(x), rounded to f32. */
function silu(x: number): number {
  return Math.fround(x / (1 + Math.exp(-x)));
}

/** x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), rounded to f32 (Hendrycks and Gimpel 2016). */
function geluTanh(x: number): number {
  return Math.fround((x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))));
}

/** x / 2 · (1 + erf(x / √2)). */
export function geluErf(x: number): number {
  return (x / 2) * (1 + erf(x / Math.SQRT2));
}

/** 2 / √π · e^(−x²) · Σ 2^n x^(2n+1) / (1 · 3 · 5 … (2n + 1)): every term has the sign of x, so nothing cancels. */
function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** out[i] = act(x[i]) · x[width + i] for each row of 2 · width columns. */
export function gateRows(
  x: Float32Array,
  width: number,
  activation: GatedActivation,
  out: Float32Array,
): void {
  invariant(x.length === 2 * out.length, "a gate halves the columns");
  const act = activation === "silu-mul" ? silu : geluTanh;
  for (let i = 0; i < out.length; i += 1) {
    const first = 2 * i - (i % width);
    out[i] = act(x[first]!) * x[first + width]!;
  }
}

/** (x − mean) / √(variance + eps) · weight + bias in place, sums in f64. */
export function layerNormRow(
  x: Float32Array,
  { weight, bias, eps }: { readonly weight: Float32Array; readonly bias: Float32Array; readonly eps: number },
): void {
  let sum = 0;
  for (const value of x) sum += value;
  const mean = sum / x.length;
  let squares = 0;
  for (const value of x) squares += (value - mean) ** 2;
  const factor = 1 / Math.sqrt(squares / x.length + eps);
  for (let i = 0; i < x.length; i += 1) x[i] = (x[i]! - mean) * factor * weight[i]! + bias[i]!;
}

/** x / √(mean square + eps) · weight, the quotient rounded to f32; `out` may be `x`. */
export function rmsNormRow(x: Float32Array, weight: Float32Array, eps: number, out: Float32Array): void {
  let sum = 0;
  for (let i = 0; i < x.length; i += 1) sum += x[i]! * x[i]!;
  const factor = Math.fround(1 / Math.sqrt(sum / x.length + eps));
  for (let i = 0; i < x.length; i += 1) out[i] = Math.fround(x[i]! * factor) * weight[i]!;
}

/** Adds to each row, in place. */
export function addBias({ values, rows, cols }: ReferenceTensor, bias: Float32Array): void {
  invariant(bias.length === cols, "a bias has one value for each output");
  for (let row = 0; row < rows; row += 1) {
    for (let i = 0; i < cols; i += 1) values[row * cols + i]! += bias[i]!;
  }
}
