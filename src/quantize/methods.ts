/** Methods that need nothing but the weights, then those that also need to see what goes into the linears. */
export const methodNames = ["rtn", "mse", "estimate", "imatrix", "gptq"] as const;

/** How scales and integers are found. */
export type QuantizationMethod = (typeof methodNames)[number];

export interface MethodTraits {
  /** Of llm-compressor: how the range of a group is seen. */
  readonly observer: string;
  readonly isCalibrated: boolean;
  /** Whether inputs are estimated from other weights. */
  readonly isEstimated: boolean;
  /** Whether integers equal llm-compressor's, which computes in the type of the weights. */
  readonly followsWeightType: boolean;
  /** How scales are found, for people. */
  readonly describe: (range: number) => string;
  /** The same where the file has blocks of its own kind. */
  readonly describeBlocks: string;
}

/** Whether the model is run on a text to find the integers, or what size is moved. */
export function isCalibrated(method: QuantizationMethod, isSmoothed: boolean): boolean {
  return isSmoothed || methods[method].isCalibrated;
}

const searched = "searched for the least squared error of each group";
const estimated =
  "columns weighted by the root of (mean square input as other weights tell it / the sum of their own squares)";
const weighted = "columns weighted by their mean square input";
const rounded = "rounded to bf16; integers half to even";

export const methods: Readonly<Record<QuantizationMethod, MethodTraits>> = {
  rtn: {
    observer: "memoryless_minmax",
    isCalibrated: false,
    isEstimated: false,
    followsWeightType: true,
    describe: (range) => `the range of each group over ${range}, ${rounded}`,
    describeBlocks: "the range of each group",
  },
  mse: {
    observer: "memoryless_mse",
    isCalibrated: false,
    isEstimated: false,
    followsWeightType: false,
    describe: () => `${searched}, ${rounded}`,
    describeBlocks: searched,
  },
  estimate: {
    observer: "memoryless_mse",
    isCalibrated: false,
    isEstimated: true,
    followsWeightType: false,
    describe: () => `${searched}, ${estimated}, ${rounded}`,
    describeBlocks: `${searched}, ${estimated}`,
  },
  imatrix: {
    observer: "memoryless_mse",
    isCalibrated: true,
    isEstimated: false,
    followsWeightType: false,
    describe: () => `${searched}, ${weighted}, ${rounded}`,
    describeBlocks: `${searched}, ${weighted}`,
  },
  gptq: {
    observer: "memoryless_mse",
    isCalibrated: true,
    isEstimated: false,
    followsWeightType: false,
    describe: () => `${searched}, ${weighted}; integers by GPTQ with static act order`,
    describeBlocks: `${searched}, ${weighted}; integers by GPTQ with static act order`,
  },
};
