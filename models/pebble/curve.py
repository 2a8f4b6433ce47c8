"""Draw the loss curves of the training logs: python curve.py"""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 320, 50, 40, 20
LOSS_SHOWN = 4.0


def points(rows, last):
    for row in rows:
        x = LEFT + (WIDTH - LEFT - 20) * row["tokens"] / last
        loss = min(row["loss"], LOSS_SHOWN)
        yield f"{x:.1f},{HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * loss / LOSS_SHOWN:.1f}"


def main() -> None:
    logs = {}
    for name in ("model", "draft"):
        lines = (HERE / name / "training-log.jsonl").read_text().splitlines()
        logs[name] = [json.loads(line) for line in lines]
    last = max(rows[-1]["tokens"] for rows in logs.values())
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for mark in range(5):
        y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * mark / LOSS_SHOWN
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 20}" y="{y + 4}">{mark}</text>')
    for name, colour, line in (("model", "#1f5fa8", 40), ("draft", "#c05020", 58)):
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" '
                   f'points="{" ".join(points(logs[name], last))}"/>')
        out.append(f'<text x="{WIDTH - 90}" y="{line}" fill="{colour}">{name}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 12}">training loss (nats per token) over '
               f'{last / 1e6:.1f} million tokens</text></svg>')
    (HERE / "loss.svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
