# A model compressed by llm-compressor, for tests/perf/quality-table.mjs.
#
#   python llm_compressor.py MODEL OUT SCHEME METHOD CALIBRATION
#
# SCHEME is w8a8 or w4a16-g<size>; METHOD rtn, gptq or smooth-gptq; CALIBRATION a file of token ids that `millrace
# quantize` wrote (millrace-calibration.json), or "-" for rtn.
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

source, out, scheme, method, calibration = sys.argv[1:]
torch.set_num_threads(os.cpu_count())

# Without bf16 instructions torch multiplies bf16 matrices more slowly than f32 ones: products are taken in f32 and
# rounded to bf16 at the end. Products of bf16 values are exact in f32; only the order of sums differs.
with open("/proc/cpuinfo") as file:
    has_bf16 = "_bf16" in file.read()
multiply = torch.nn.functional.linear


def multiply_in_floats(inputs, weight, bias=None):
    return multiply(inputs.float(), weight.float(), None if bias is None else bias.float()).to(inputs.dtype)


if not has_bf16:
    torch.nn.functional.linear = multiply_in_floats

model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)

if scheme == "w8a8":
    target = {"targets": "Linear", "scheme": "W8A8"}
else:
    size = int(scheme.removeprefix("w4a16-g"))
    args = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group", group_size=size)
    target = {"config_groups": {"group_0": QuantizationScheme(targets=["Linear"], weights=args)}}

if method == "rtn":
    oneshot(model=model, recipe=QuantizationModifier(ignore=["lm_head"], **target))
else:
    with open(calibration) as file:
        ids = json.load(file)["sequences"]
    rows = Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]})
    smoothing = [SmoothQuantModifier(smoothing_strength=0.8)] if method == "smooth-gptq" else []
    recipe = [*smoothing, GPTQModifier(ignore=["lm_head"], **target)]
    longest = max(len(row) for row in ids)
    # Asked for beside a data set, of which nothing is left to be tokenised: a model of weights alone has none.
    unused = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"?": 0}, "?")), pad_token="?")
    limits = {"num_calibration_samples": len(ids), "max_seq_length": longest}
    oneshot(model=model, processor=unused, recipe=recipe, dataset=rows, **limits)
model.save_pretrained(out, save_compressed=True)
