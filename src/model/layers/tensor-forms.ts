import type { Ops, Tensor, TensorForm } from "../../kernels/ops.ts";

/** An f32 tensor in another form; itself where it has that form. */
export function inForm(ops: Ops, x: Tensor, form: TensorForm): Tensor {
  return form === "f32" ? x : ops.convert(x, form);
}
