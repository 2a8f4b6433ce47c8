# Log-probabilities of the likeliest tokens by transformers from a compressed-tensors folder, before each token of a
# continuation. INPUTS is "asis", or "float": then what goes into linears is not rounded, whatever the folder says.
#
#   python logits_of_folder.py FOLDER PROMPT_IDS CONTINUATION_IDS NUM_TOP INPUTS   (ids joined by commas; prints JSON)
import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

folder, prompt, continuation, num_top, inputs = sys.argv[1:]
config = AutoConfig.from_pretrained(folder)
if inputs == "float":
    for group in config.quantization_config["config_groups"].values():
        group["input_activations"] = None
model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
before, after = ([int(token) for token in ids.split(",")] for ids in (prompt, continuation))
with torch.no_grad():
    logits = model(torch.tensor([before + after])).logits[0, len(before) - 1 : -1]
steps = []
for logprobs in logits.float().log_softmax(-1):
    top = logprobs.topk(int(num_top))
    steps.append([[int(i), float(value)] for value, i in zip(top.values, top.indices)])
print(json.dumps(steps))
