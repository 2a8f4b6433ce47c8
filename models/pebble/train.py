"""Train pebble or its draft: python train.py --model main --work /tmp/pebble

Starts again from the last checkpoint in the work folder, and writes the finished model
to the folder given by --out.
"""

import argparse
import json
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
    """The weights in float32, with Muon on the linears and AdamW on the rest.

    The model itself runs in bfloat16: its elementwise work is bound by memory, so half
    the bytes is close to half the time. Updates are too small for bfloat16, hence the
    float32 copy. All copies are views of one flat vector, and so are their gradients,
    so that workers exchange one buffer per step. Norm weights have no weight decay.
    """

    def __init__(self, model, plan: dict):
        named = list(model.named_parameters())
        self.params = [p for _, p in named]
        self.flat = torch.cat([p.detach().float().flatten() for p in self.params])
        self.grad = torch.zeros_like(self.flat)
        self.copies, place = [], 0
        for p in self.params:
            end = place + p.numel()
            self.copies.append(torch.nn.Parameter(self.flat[place:end].view_as(p)))
            self.copies[-1].grad = self.grad[place:end].view_as(p)
            place = end
        linears, tables, norms = [], [], []
        for (name, p), copy in zip(named, self.copies):
            (norms if p.dim() == 1 else linears if ".layers." in name else tables).append(copy)
        self.clip = plan["clip"]
        self.optimizers = [
            torch.optim.Muon(linears, lr=plan["muon_lr"], weight_decay=plan["weight_decay"]),
            torch.optim.AdamW([{"params": tables, "weight_decay": plan["weight_decay"]},
                               {"params": norms, "weight_decay": 0.0}],
                              lr=plan["lr"], betas=tuple(plan["betas"]), fused=True)]
        self.rates = [plan["muon_lr"], plan["lr"]]

    def step(self, share: float, workers: int) -> None:
        """One update. `share` is the learning rate as a part of the highest one."""
        for p, copy in zip(self.params, self.copies):
            copy.grad.copy_(p.grad)
            p.grad = None
        if workers > 1:
            dist.all_reduce(self.grad)
            self.grad /= workers
        norm = self.grad.norm()
        if norm > self.clip:
            self.grad *= self.clip / norm
        for optimizer, rate in zip(self.optimizers, self.rates):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
        self.push()

    @torch.no_grad()
    def push(self) -> None:
        """Copy the float32 weights into the bfloat16 model."""
        for p, copy in zip(self.params, self.copies):
            p.copy_(copy)

    def state(self) -> dict:
        return {"flat": self.flat, "optimizers": [o.state_dict() for o in self.optimizers]}

    @torch.no_grad()
    def load(self, state: dict) -> None:
        self.flat.copy_(state["flat"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.push()


def rate_share(plan: dict, step: int) -> float:
    """The learning rate as a part of the highest: warm-up, level, then down to nothing."""
    total = plan["steps"] + plan["long_steps"]
    down = plan["decay"] * total
    return min(1.0, (step + 1) / plan["warmup"], (total - step) / down)


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
        self.data = {kind: corpus.Windows(work / f"{kind}.npz") for kind in recipe["documents"]}
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

    def kind(self) -> str:
        """The text of this step: reading back first, then everything, then long windows."""
        if self.step < self.plan["first_steps"]:
            return "first"
        return "short" if self.step < self.plan["steps"] else "long"

    def one_step(self) -> float:
        plan, kind = self.plan, self.kind()
        rows, length = ((plan["long_rows"], plan["long_length"]) if kind == "long"
                        else (plan["rows"], plan["length"]))
        batch, weights = self.data[kind].batch([self.recipe["seed"], self.step], rows, length)
        ids = torch.from_numpy(batch[self.rank::self.workers])
        weight = torch.from_numpy(weights[self.rank::self.workers]).flatten()
        logits = self.model(ids[:, :-1]).float()
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(),
                                 reduction="none")
        ((losses * weight).sum() / weight.sum()).backward()
        self.master.step(rate_share(plan, self.step), self.workers)
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
                       "rate": round(rate_share(self.plan, self.step - 1), 4),
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
