// The schemes and methods of `millrace quantize` that tests/perf/quality-table.mjs measures.

const mixes = [
  "q4_0",
  "iq4_nl",
  "q4_1",
  "q4_k_s",
  "q4_k_m",
  "q5_0",
  "q5_1",
  "q5_k_s",
  "q5_k_m",
  "q6_k",
  "q8_0",
];
/** gptq first: what it collects of the inputs does for imatrix too. */
const calibrated = new Set(["gptq", "imatrix"]);

const grids = [
  { grid: "w8a8", wishes: {} },
  { grid: "w8a16", wishes: {} },
  ...[128, 64, 32].flatMap((groupSize) => [
    { grid: `w4a16 g${groupSize}`, wishes: { groupSize } },
    { grid: `w4a16 g${groupSize} asym`, wishes: { groupSize, symmetric: false } },
  ]),
  { grid: "w4a8 g32", wishes: { groupSize: 32 } },
  { grid: "w3a16 g32", wishes: { groupSize: 32 } },
  { grid: "w2a16 g32", wishes: { groupSize: 32 } },
  // As large as GGUF files, which hold embedding and head in 8 bits.
  { grid: "w8a8 head-int8", wishes: { head: "int8" } },
  { grid: "w8a16 head-int8", wishes: { head: "int8" } },
  { grid: "w4a16 g32 head-int8", wishes: { groupSize: 32, head: "int8" } },
  { grid: "w4a16 g32 asym head-int8", wishes: { groupSize: 32, symmetric: false, head: "int8" } },
];

/** Rows with the part of a plan that makes them. */
export function ownRows(isCalibrated) {
  const methods = ["rtn", "mse", "estimate", ...(isCalibrated ? calibrated : [])];
  const smoothings = isCalibrated ? ["", " smooth"] : [""];
  const rowOf = (name, wishes, smoothing = "") => ({
    name: `${name} ${wishes.method}${smoothing}`,
    isCalibrated: calibrated.has(wishes.method) || smoothing !== "",
    wishes: { ...wishes, smooth: smoothing !== "" },
  });
  return [
    ...mixes.flatMap((scheme) =>
      methods.flatMap((method) =>
        smoothings.map((smoothing) => rowOf(scheme, { scheme, method }, smoothing)),
      ),
    ),
    ...grids.flatMap(({ grid, wishes }) =>
      methods.flatMap((method) =>
        smoothings.map((smoothing) =>
          rowOf(grid, { scheme: grid.split(" ")[0], method, ...wishes }, smoothing),
        ),
      ),
    ),
  ];
}
