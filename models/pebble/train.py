"""Train pebble or its draft: python train.py --model main --work /tmp/pebble

Starts again from the last checkpoint in the work folder, and writes the finished model
to the folder given by --out.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

import corpus
import heldout
from documents import END, END_TURN
from model import Llama, Shape, parameter_count
from scoring import accuracy, perplexity, read_rows
from tokens import write_tokenizer
from world import World

HERE = Path(__file__).resolve().parent
SAVE_SECONDS = 180


class Master:
    """The weights in float32 as two flat vectors, with AdamW on them.

    The model itself runs in bfloat16: its elementwise work is bound by memory, so half
    the bytes is close to half the time. Updates are too small for bfloat16, hence the
    float32 copy. Norm weights are the second vector and have no weight decay.
    """

    def __init__(self, model, plan: dict):
        params = list(model.parameters())
        self.groups = [[p for p in params if p.dim() == 2],
                       [p for p in params if p.dim() != 2]]
        self.flat = [torch.nn.Parameter(torch.cat([p.detach().float().flatten() for p in g]))
                     for g in self.groups]
        self.clip = plan["clip"]
        self.optimizer = torch.optim.AdamW(
            [{"params": [self.flat[0]], "weight_decay": plan["weight_decay"]},
             {"params": [self.flat[1]], "weight_decay": 0.0}],
            lr=plan["lr"], betas=tuple(plan["betas"]), fused=True)

    def step(self, lr: float, workers: int) -> None:
        for flat, group in zip(self.flat, self.groups):
            flat.grad = torch.cat([p.grad.float().flatten() for p in group])
            if workers > 1:
                dist.all_reduce(flat.grad)
                flat.grad /= workers
            for p in group:
                p.grad = None
        torch.nn.utils.clip_grad_norm_(self.flat, self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.push()

    @torch.no_grad()
    def push(self) -> None:
        """Copy the float32 weights into the bfloat16 model."""
        for flat, group in zip(self.flat, self.groups):
            place = 0
            for p in group:
                p.copy_(flat[place:place + p.numel()].view_as(p))
                place += p.numel()

    def state(self) -> dict:
        return {"flat": [f.detach() for f in self.flat],
                "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def load(self, state: dict) -> None:
        for mine, saved in zip(self.flat, state["flat"]):
            mine.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.push()


def learning_rate(plan: dict, step: int) -> float:
    total = plan["steps"] + plan["long_steps"]
    if step < plan["warmup"]:
        return plan["lr"] * (step + 1) / plan["warmup"]
    part = (step - plan["warmup"]) / max(1, total - plan["warmup"])
    return plan["min_lr"] + (plan["lr"] - plan["min_lr"]) * 0.5 * (1 + math.cos(math.pi * part))


class Run:
    """One worker of a training run. Worker 0 also reports, saves and evaluates."""

    def __init__(self, rank: int, recipe: dict, name: str, work: Path):
        self.rank, self.recipe, self.name, self.work = rank, recipe, name, work
        self.plan = recipe["models"][name]
        self.workers = recipe["workers"]
        self.shape = Shape(vocab_size=recipe["vocab_size"], **self.plan["shape"])
        torch.manual_seed(recipe["seed"])
        self.model = Llama(self.shape)
        self.master = Master(self.model, self.plan)
        self.model.to(torch.bfloat16)
        self.data = {kind: corpus.Windows(work / f"{kind}.npz") for kind in ("short", "long")}
        self.tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
        self.rows = read_rows(HERE / "task" / "test.jsonl")
        self.step, self.tokens, self.seconds, self.log = 0, 0, 0.0, []
        self.file = work / f"{name}.pt"
        if self.file.exists():
            saved = torch.load(self.file)
            self.master.load(saved["master"])
            self.step, self.tokens = saved["step"], saved["tokens"]
            self.seconds, self.log = saved["seconds"], saved["log"]

    def save(self) -> None:
        spare = self.file.with_suffix(".new")
        torch.save({"master": self.master.state(), "step": self.step, "tokens": self.tokens,
                    "seconds": self.seconds, "log": self.log}, spare)
        os.replace(spare, self.file)

    def one_step(self) -> float:
        plan, late = self.plan, self.step >= self.plan["steps"]
        rows, length = ((plan["long_rows"], plan["long_length"]) if late
                        else (plan["rows"], plan["length"]))
        batch, weights = self.data["long" if late else "short"].batch(
            [self.recipe["seed"], self.step], rows, length)
        ids = torch.from_numpy(batch[self.rank::self.workers])
        weight = torch.from_numpy(weights[self.rank::self.workers]).flatten()
        logits = self.model(ids[:, :-1]).float()
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(),
                                 reduction="none")
        ((losses * weight).sum() / weight.sum()).backward()
        self.master.step(learning_rate(plan, self.step), self.workers)
        self.step += 1
        self.tokens += rows * length
        # The log has the plain mean, which compares with a perplexity.
        return losses.mean().item()

    def evaluate(self, every: int) -> dict:
        # A slice of the task is enough to see the trend and costs few seconds.
        return accuracy(self.model, self.tokenizer, self.rows[::every])

    def train(self) -> None:
        total = self.plan["steps"] + self.plan["long_steps"]
        before, begun, saved, recent = self.seconds, time.time(), time.time(), []
        while self.step < total:
            recent.append(self.one_step())
            self.seconds = before + time.time() - begun
            if self.rank:
                continue
            if self.step % 10 == 0 or self.step == total:
                row = {"step": self.step, "tokens": self.tokens,
                       "loss": round(sum(recent) / len(recent), 4),
                       "lr": round(learning_rate(self.plan, self.step - 1), 7),
                       "seconds": round(self.seconds)}
                recent = []
                if self.step % self.plan["evaluate_every"] == 0:
                    row["accuracy"] = self.evaluate(4)
                self.log.append(row)
                rate = self.tokens / max(1.0, self.seconds)
                left = (total - self.step) / max(1, self.step) * self.seconds / 60
                print(f"{self.name} {self.step}/{total} {row} {rate:.0f} tokens/s, "
                      f"about {left:.0f} min left", flush=True)
            if time.time() - saved > SAVE_SECONDS:
                self.save()
                saved = time.time()
        if self.rank == 0:
            self.save()


def export(run: Run, out: Path, final: bool) -> None:
    """The folder layout that transformers reads."""
    write_tokenizer(run.tokenizer, out, run.shape.max_position_embeddings)
    bos, eos = run.tokenizer.token_to_id(END), run.tokenizer.token_to_id(END_TURN)
    config = run.shape.config(bos, eos)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {k: v.detach().to(torch.bfloat16).contiguous()
               for k, v in run.model.state_dict().items()}
    spare = out / "model.safetensors.new"
    save_file(tensors, str(spare), metadata={"format": "pt"})
    os.replace(spare, out / "model.safetensors")
    if final:
        with open(out / "training-log.jsonl", "w") as log:
            log.writelines(json.dumps(row) + "\n" for row in run.log)


def worker(rank: int, recipe: dict, name: str, work: str, out: str) -> None:
    # One thread per worker: where other programs use the processors too, threads that
    # meet after every operation wait for the slower one; workers meet once per step.
    torch.set_num_threads(1 if recipe["workers"] > 1 else os.cpu_count())
    if recipe["workers"] > 1:
        meet = Path(work) / f"meet-{os.getppid()}"
        dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank,
                                world_size=recipe["workers"])
    run = Run(rank, recipe, name, Path(work))
    if rank == 0:
        print(f"{name}: {parameter_count(run.model)} parameters, from step {run.step}",
              flush=True)
    run.train()
    if rank == 0:
        export(run, Path(out), final=True)
        texts = read_rows(HERE / "task" / "heldout.jsonl")
        end = run.tokenizer.token_to_id(END)
        print(f"accuracy {run.evaluate(1)}")
        print(f"held-out perplexity {perplexity(run.model, run.tokenizer, texts, end):.3f}")
        print(f"trained for {run.seconds / 60:.1f} min, {run.tokens} tokens", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["main", "draft"], required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--preview", action="store_true",
                        help="export the last checkpoint and stop")
    args = parser.parse_args()
    recipe = json.loads((HERE / "recipe.json").read_text())
    out = args.out or HERE / {"main": "model", "draft": "draft"}[args.model]
    corpus.build(recipe, args.work)
    heldout.write(HERE / "task", World())
    if args.preview:
        run = Run(0, recipe, args.model, args.work)
        export(run, out, final=False)
        print(f"step {run.step}: accuracy {run.evaluate(1)}")
        return
    job = (recipe, args.model, str(args.work), str(out))
    if recipe["workers"] == 1:
        worker(0, *job)
    else:
        mp.spawn(worker, job, nprocs=recipe["workers"])


if __name__ == "__main__":
    main()
