// The schemes and methods of `millrace quantize` that tests/perf/quality-table.mjs measures.

const mixes = ["q4_0", "q4_1", "q4_k_s", "q4_k_m", "q5_0", "q5_1", "q5_k_s", "q5_k_m", "q6_k", "q8_0"];
const calibrated = new Set(["imatrix", "gptq"]);

const inGroups = (size) => ["--group-size", String(size)];
const grids = [
  { grid: "w8a8", own: [] },
  { grid: "w8a16", own: [] },
  ...[128, 64, 32].flatMap((size) => [
    { grid: `w4a16 g${size}`, own: inGroups(size) },
    { grid: `w4a16 g${size} asym`, own: [...inGroups(size), "--asymmetric"] },
  ]),
  { grid: "w4a8 g32", own: inGroups(32) },
  { grid: "w3a16 g32", own: inGroups(32) },
  { grid: "w2a16 g32", own: inGroups(32) },
];

/** Rows with the arguments that make them. */
export function ownRows(isCalibrated) {
  const methods = ["rtn", "mse", ...(isCalibrated ? calibrated : [])];
  const smoothings = isCalibrated ? ["", " smooth"] : [""];
  const rowOf = (name, method, args, smoothing = "") => ({
    name: `${name} ${method}${smoothing}`,
    isCalibrated: calibrated.has(method) || smoothing !== "",
    args: [...args, "--method", method, ...(smoothing === "" ? [] : ["--smooth"])],
  });
  return [
    ...mixes.flatMap((scheme) => methods.map((method) => rowOf(scheme, method, ["--scheme", scheme]))),
    ...grids.flatMap(({ grid, own }) =>
      methods.flatMap((method) =>
        smoothings.map((smoothing) =>
          rowOf(grid, method, ["--scheme", grid.split(" ")[0], ...own], smoothing),
        ),
      ),
    ),
  ];
}
