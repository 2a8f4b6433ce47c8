"""The weights that training starts from.

Plain random weights learned no copying within the time: to read back from the context,
a model needs two attention heads that work together (Olsson et al. 2022, In-context
Learning and Induction Heads), and neither is of use before the other. So training
starts with a rough pair. Everything else starts as usual, and every weight is trained.

The stream starts clean as well: what attention and MLP add begins at zero, so that the
next layer sees the tokens themselves.
"""

import torch
from torch import nn

# How sharply the two heads look, and how much they write, found by trying.
STEP_BACK, MATCH, CARRY, COPY = 60.0, 2.0, 0.25, 1.0
COMMON = 0.7
FINAL_NORM = 0.3
# A rotary pair counts as fast above, and as slow below, these angles per position.
FAST, SLOW = 0.2, 0.015


@torch.no_grad()
def initialise(model) -> None:
    shape = model.shape
    for p in model.parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=shape.hidden_size**-0.5)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    # The output layer is the embedding: without this every token would predict itself.
    model.model.norm.weight.fill_(FINAL_NORM)
    common = _common_direction(model.model.embed_tokens.weight)
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    angle = shape.rope_theta**-half
    carried, written = _look_one_back(first, common, angle, shape)
    _find_same_and_copy(second, carried, written, angle, shape)


def _orthonormal(rows: int, columns: int):
    """[rows, columns] with orthonormal rows or columns, whichever are fewer."""
    q, _ = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns)))
    return q if rows >= columns else q.T


def _common_direction(embedding):
    """Adds the same vector to every token, so that a head can ignore what a token is."""
    common = torch.randn(embedding.shape[1])
    common /= common.norm()
    embedding += COMMON * common
    return common


def _look_one_back(attention, common, angle, shape):
    """Head 0 looks one position back and carries part of that token along.

    Query and key are constants. The key is the query turned by one position, in the
    fast rotary pairs only, so the score is highest one position back.
    """
    size, width, pairs = shape.head_dim, shape.hidden_size, shape.head_dim // 2
    fast = (angle > FAST).float()
    query = torch.cat([fast, torch.zeros(pairs)]) / fast.sum().sqrt()
    key = torch.cat([fast * angle.cos(), fast * angle.sin()]) / fast.sum().sqrt()
    # After the norm the common direction has this length.
    length = COMMON / (1 + COMMON**2) ** 0.5 * width**0.5
    scale = (STEP_BACK * size**0.5) ** 0.5 / length
    noise = 0.02
    attention.q_proj.weight[:size] = scale * torch.outer(query, common)
    attention.k_proj.weight[:size] = scale * torch.outer(key, common)
    for p in (attention.q_proj.weight, attention.k_proj.weight):
        p[:size] += noise * torch.randn(size, width)
    carried, written = _orthonormal(size, width), _orthonormal(width, size)
    attention.v_proj.weight[:size] = carried
    attention.o_proj.weight[:, :size] = CARRY * written
    return carried, written


def _find_same_and_copy(attention, carried, written, angle, shape):
    """The query heads of the first group look where the token one back was the same.

    They compare in the slow rotary pairs, so that the distance matters little, and
    write the token that they find towards the output.
    """
    size, width, pairs = shape.head_dim, shape.hidden_size, shape.head_dim // 2
    slow = (angle < SLOW).nonzero().flatten()
    places = torch.cat([slow, slow + pairs])
    chosen = torch.zeros(size, size)
    chosen[places, torch.arange(len(places))] = MATCH
    attention.k_proj.weight[:size] = chosen @ written.T
    copied = _orthonormal(size, width)
    attention.v_proj.weight[:size] = copied
    for head in range(shape.num_attention_heads // shape.num_key_value_heads):
        rows = slice(head * size, (head + 1) * size)
        attention.q_proj.weight[rows] = chosen @ carried
        attention.q_proj.weight[rows] += 0.01 * torch.randn(size, width)
        attention.o_proj.weight[:, rows] = COPY * copied.T
