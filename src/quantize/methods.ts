/** Methods that need nothing but the weights, then those that also need to see what goes into the linears. */
export const methodNames = ["rtn", "mse", "imatrix", "gptq"] as const;

/** How scales and integers are found. */
export type QuantizationMethod = (typeof methodNames)[number];

export interface MethodTraits {
  /** Of llm-compressor: how the range of a group is seen. */
  readonly observer: string;
  readonly isCalibrated: boolean;
  /** Whether integers equal llm-compressor's, which computes in the type of the weights. */
  readonly followsWeightType: boolean;
  /** How scales are found, for people. */
  readonly describe: (range: number) => string;
}

const searched = "searched for the least squared error of each group";
const rounded = "rounded to bf16; integers half to even";

export const methods: Readonly<Record<QuantizationMethod, MethodTraits>> = {
  rtn: {
    observer: "memoryless_minmax",
    isCalibrated: false,
    followsWeightType: true,
    describe: (range) => `the range of each group over ${range}, ${rounded}`,
  },
  mse: {
    observer: "memoryless_mse",
    isCalibrated: false,
    followsWeightType: false,
    describe: () => `${searched}, ${rounded}`,
  },
  imatrix: {
    observer: "memoryless_mse",
    isCalibrated: true,
    followsWeightType: false,
    describe: () => `${searched}, columns weighted by their mean square input, ${rounded}`,
  },
  gptq: {
    observer: "memoryless_mse",
    isCalibrated: true,
    followsWeightType: false,
    describe: () =>
      `${searched}, columns weighted by their mean square input; integers by GPTQ with static act order`,
  },
};
