# Greedy tokens of a compressed-tensors folder by transformers, and the log-probabilities of the likeliest at each step.
#
#   python logits_of_folder.py FOLDER PROMPT_IDS NUM_TOKENS NUM_TOP    (ids joined by commas; JSON on standard output)
import json
import sys

import torch
from transformers import AutoModelForCausalLM

folder, prompt, num_tokens, num_top = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
ids = [int(token) for token in prompt.split(",")]
tokens, steps = [], []
with torch.no_grad():
    for _ in range(int(num_tokens)):
        logprobs = model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
        top = logprobs.topk(int(num_top))
        steps.append([[int(i), float(value)] for value, i in zip(top.values, top.indices)])
        tokens.append(int(logprobs.argmax()))
        ids.append(tokens[-1])
print(json.dumps({"tokens": tokens, "steps": steps}))
