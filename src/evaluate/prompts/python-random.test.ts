import { expect, it } from "vitest";
import { PythonRandom } from "./python-random.ts";

// Values printed by CPython 3.11.
it("gives Python's doubles", () => {
  const random = new PythonRandom(1234);
  expect([random.random(), random.random(), random.random()]).toEqual([
    0.9664535356921388, 0.4407325991753527, 0.007491470058587191,
  ]);
});

it.each([
  [
    2,
    4,
    [
      [3, 0],
      [0, 3],
    ],
  ],
  [
    5,
    21,
    [
      [14, 3, 0, 2, 1],
      [2, 3, 11, 7, 0],
    ],
  ],
  [
    5,
    7473,
    [
      [6374, 3610, 957, 61, 742],
      [7462, 6610, 4769, 286, 5501],
    ],
  ],
  [
    6,
    40,
    [
      [28, 7, 0, 5, 2, 36],
      [6, 22, 15, 1, 36, 35],
    ],
  ],
  [
    25,
    300,
    [
      [
        225, 59, 3, 46, 298, 17, 42, 50, 181, 121, 8, 15, 177, 247, 237, 76, 93, 58, 7, 257, 249, 127, 33,
        277, 238,
      ],
      [
        35, 45, 263, 296, 23, 138, 284, 32, 154, 246, 181, 136, 127, 102, 232, 271, 9, 260, 36, 2, 170, 73,
        242, 193, 85,
      ],
    ],
  ],
  [
    8,
    85,
    [
      [56, 14, 0, 11, 74, 4, 10, 12],
      [45, 30, 2, 3, 82, 44, 61, 59],
    ],
  ],
  [
    3,
    22,
    [
      [14, 3, 0],
      [2, 18, 1],
    ],
  ],
])("samples %i of %i as Python does", (count, size, drawn) => {
  const population = Array.from({ length: size }, (_, i) => i);
  const random = new PythonRandom(1234);
  expect([random.sample(population, count), random.sample(population, count)]).toEqual(drawn);
});
