"""Records what Python's tools make of data sets: Parquet files with the rows that pyarrow reads from them, and the files
that `datasets` finds for each split among names.

Needs pyarrow 26.0.1, datasets 5.2.0. Run: python tests/golden/record-data-sets.py
"""

import datetime
import json
import os
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
from datasets.data_files import get_data_patterns, resolve_pattern

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded", "data-sets")
os.makedirs(FOLDER, exist_ok=True)


def write(name, rows, **options):
    path = os.path.join(FOLDER, name)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    text = json.dumps(pq.read_table(path).to_pylist(), default=lambda day: day.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    return json.loads(text)


science = [
    {"id": f"q{i}", "question": question, "choices": {"text": texts, "label": labels}, "answerKey": key}
    for i, (question, texts, labels, key) in enumerate(
        [
            ("Which of these is a fruit?", ["stone", "pear", "river", "cloud"], ["A", "B", "C", "D"], "B"),
            ("What do fish breathe with?", ["gills", "wings", "roots"], ["1", "2", "3"], "1"),
            ("Wo scheint die Sonne? \u2600", ["am Tag", "nachts"], ["A", "B"], "A"),
            ("What falls from clouds?", ["rain", "sand", "wood", "iron", "salt"], ["A", "B", "C", "D", "E"], "A"),
        ]
    )
]
mixed = [
    {
        "whole": i * 3 - 4,
        "large": (1 << 40) + i,
        "real": i / 3,
        "flag": i % 2 == 0,
        "text": None if i % 3 == 1 else f"row {i}\n\u00e9",
        "list": list(range(i % 4)),
        "nested": {"a": [{"b": str(i)}] * (i % 3), "c": None if i % 2 else i},
        "day": datetime.datetime(2020, 1, 1 + i),
    }
    for i in range(9)
]
rows = {"science": write("science.parquet", science, compression="snappy")}
for codec in ["none", "gzip", "zstd", "brotli"]:
    version = "2.0" if codec == "zstd" else "1.0"
    read = write(f"mixed-{codec}.parquet", mixed, compression=codec, row_group_size=4, data_page_version=version)
    assert rows.setdefault("mixed", read) == read

TREES = {
    "sharded": "README.md data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet data/test-00000-of-00001.parquet data/odd_name-00000-of-00001.parquet",
    "names": "README.md train.jsonl valid.jsonl my_test.jsonl notes.json",
    "folders": "README.md train/a.parquet train/b.parquet dev/a.parquet evaluation/a.parquet other/x.parquet",
    "one": "README.md ifeval_input_data.jsonl .gitattributes dataset_infos.json",
    "nested": "x/train-1/a.csv x/testing/b.csv contest/c.csv latest.csv",
    "languages": "data/lambada_test_de.jsonl data/lambada_test_en.jsonl",
}
GLOBS = "a/* a/** a/*.parquet **/x[0-9]* a/b/c.parquet *.jsonl a/?.parquet a/**/c* [ab]/* a/train-* b/[!t]*"
GLOBBED = "a/1.parquet a/b/c.parquet a/b/d/c2.parquet q.jsonl z/q.jsonl z/x1y x2 b/train-0.parquet b/other a/train-00000-of-00001.parquet"


def make_tree(names):
    folder = tempfile.mkdtemp()
    for name in names:
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        open(os.path.join(folder, name), "w").write("x")
    return folder


def resolve(folder, patterns):
    found = set()
    for pattern in patterns:
        try:
            found |= {os.path.relpath(path, folder) for path in resolve_pattern(pattern, folder)}
        except FileNotFoundError:
            pass
    return sorted(found)


trees = []
for name, names in TREES.items():
    folder = make_tree(names.split())
    splits = {str(split): resolve(folder, patterns) for split, patterns in get_data_patterns(folder).items()}
    trees.append({"name": name, "files": names.split(), "splits": splits})
folder = make_tree(GLOBBED.split())
globs = {"files": GLOBBED.split(), "found": {glob: resolve(folder, [glob]) for glob in GLOBS.split()}}
with open(os.path.join(FOLDER, "expected.json"), "w") as file:
    json.dump({"rows": rows, "trees": trees, "globs": globs}, file, indent=1, ensure_ascii=False)
    file.write("\n")
