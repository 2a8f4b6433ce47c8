"""Measure an exported folder: python check.py --folder model

Prints the accuracy as it is, and after rounding the linears to 4 and to 2 bits, then
the perplexity of the held-out text. With --chat it answers one message instead.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from documents import END, END_TURN, START_TURN
from model import Llama, Shape
from scoring import accuracy, perplexity, read_rows, round_to_nearest

HERE = Path(__file__).resolve().parent


def load(folder: Path) -> Llama:
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(**{k: config[k] for k in Shape.__dataclass_fields__})
    model = Llama(shape).to(torch.bfloat16)
    model.load_state_dict(load_file(str(folder / "model.safetensors")))
    return model.eval()


@torch.no_grad()
def answer(model, tokenizer, message: str, limit: int = 200) -> str:
    """Greedy answer to one user message, in the chat template."""
    ids = tokenizer.encode(f"{START_TURN}user\n{message}{END_TURN}\n"
                           f"{START_TURN}assistant\n").ids
    stop = {tokenizer.token_to_id(END), tokenizer.token_to_id(END_TURN)}
    begin = len(ids)
    for _ in range(limit):
        best = int(model(torch.tensor([ids]))[0, -1].argmax())
        if best in stop:
            return tokenizer.decode(ids[begin:])
        ids.append(best)
    return tokenizer.decode(ids[begin:]) + " [no stop]"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=HERE / "model")
    parser.add_argument("--chat", nargs="*")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    if args.chat:
        model = load(args.folder)
        for message in args.chat:
            print(f"> {message}\n{answer(model, tokenizer, message)}\n")
        return
    rows = read_rows(HERE / "task" / "test.jsonl")
    texts = read_rows(HERE / "task" / "heldout.jsonl")
    for bits in (16, 4, 2):
        model = load(args.folder)
        if bits < 16:
            round_to_nearest(model, bits)
        value = perplexity(model, tokenizer, texts, tokenizer.token_to_id(END))
        print(f"{bits} bits: {accuracy(model, tokenizer, rows)} perplexity {value:.3f}")


if __name__ == "__main__":
    main()
