"""Records tests/golden/recorded/packed-linears.json: small linears as AutoGPTQ, AutoAWQ and bitsandbytes pack them, and the
values that the same projects' code unpacks them to.

Needs torch, numpy and bitsandbytes==0.50.2; the other two need not be installed, only unpacked, as their packers run on
any processor:

    pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.9     # and unpack both
    python tests/golden/record-packed-linears.py FOLDER_OF_AUTO_GPTQ FOLDER_OF_AUTOAWQ
"""
import base64
import importlib.util
import json
import pathlib
import sys
import types

import bitsandbytes
import numpy as np
import torch

OUT = pathlib.Path(__file__).parent / "recorded" / "packed-linears.json"
ROWS, COLS, GROUP = 32, 64, 32


def load(path, **stubs):
    """A module by its file, with others that it imports and the packer does not need left empty."""
    for name, members in stubs.items():
        stub = types.ModuleType(name.replace("__", "."))
        stub.__dict__.update(members)
        sys.modules[stub.__name__] = stub
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Nothing:
    pass


def encoded(tensor, dtype):
    array = np.ascontiguousarray(tensor.numpy().astype(dtype))
    return {"shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def numbers(bits, symmetric, seed):
    """Integers, zero points from 1 up (version 1 stores them one too low) and scales that f16 holds."""
    random = np.random.default_rng(seed)
    q = random.integers(0, 2**bits, (ROWS, COLS))
    z = np.full((ROWS, COLS // GROUP), 2 ** (bits - 1)) if symmetric else random.integers(1, 2**bits, (ROWS, COLS // GROUP))
    s = (random.integers(1, 1000, (ROWS, COLS // GROUP)) / 8192).astype(np.float16).astype(np.float32)
    return q, z, s


def linear_of(q, z, s, group_of):
    linear = torch.nn.Linear(COLS, ROWS, bias=False)
    linear.weight.data = torch.from_numpy(((q - z[:, group_of]) * s[:, group_of]).astype(np.float32))
    return linear


def gptq(module, bits, symmetric, order_seed):
    q, z, s = numbers(bits, symmetric, 10 * bits + symmetric)
    group_of = np.arange(COLS) // GROUP
    if order_seed is not None:
        group_of = np.random.default_rng(order_seed).permutation(group_of)
    linear = linear_of(q, z, s, group_of)
    packed = module.QuantLinear(bits, GROUP, COLS, ROWS, False, weight_dtype=torch.float32)
    scales, zeros = torch.from_numpy(s), torch.from_numpy(z.astype(np.float32))
    packed.pack(linear, scales, zeros, torch.from_numpy(group_of.astype(np.int32)))
    values = packed(torch.eye(COLS)).t().contiguous()
    return {
        "name": f"AutoGPTQ, {bits} bits, {'symmetric' if symmetric else 'asymmetric'}{', desc_act' if order_seed else ''}",
        "config": {
            "quant_method": "gptq",
            "bits": bits,
            "group_size": GROUP,
            "sym": symmetric,
            "desc_act": order_seed is not None,
        },
        "tensors": {
            "m.qweight": {"dtype": "I32", **encoded(packed.qweight, np.int32)},
            "m.qzeros": {"dtype": "I32", **encoded(packed.qzeros, np.int32)},
            "m.scales": {"dtype": "F16", **encoded(packed.scales, np.float16)},
            "m.g_idx": {"dtype": "I32", **encoded(packed.g_idx, np.int32)},
        },
        "values": encoded(values, np.float32),
    }


def awq(module, unpack):
    q, z, s = numbers(4, False, 7)
    linear = linear_of(q, z, s, np.arange(COLS) // GROUP)
    scales, zeros = torch.from_numpy(s.T.copy()), torch.from_numpy(z.T.astype(np.float32).copy())
    packed = module.WQLinear_GEMM.from_linear(linear, 4, GROUP, False, scales, zeros)
    values = unpack.dequantize_gemm(packed.qweight, packed.qzeros, packed.scales.float(), 4, GROUP).t().contiguous()
    return {
        "name": "AutoAWQ, gemm",
        "config": {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True},
        "tensors": {
            "m.qweight": {"dtype": "I32", **encoded(packed.qweight, np.int32)},
            "m.qzeros": {"dtype": "I32", **encoded(packed.qzeros, np.int32)},
            "m.scales": {"dtype": "F16", **encoded(packed.scales, np.float16)},
        },
        "values": encoded(values, np.float32),
    }


def floats(seed):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((ROWS, COLS)).astype(np.float32))


def stored(module):
    dtypes = {torch.uint8: ("U8", np.uint8), torch.int8: ("I8", np.int8), torch.float32: ("F32", np.float32)}
    kept = {name: tensor for name, tensor in module.state_dict().items() if tensor.dim() > 0}
    return {
        f"m.{name}": {"dtype": dtypes[tensor.dtype][0], **encoded(tensor, dtypes[tensor.dtype][1])}
        for name, tensor in kept.items()
    }


def table(kind, nested):
    packed = bitsandbytes.nn.Linear4bit(COLS, ROWS, bias=False, quant_type=kind, compress_statistics=nested)
    packed.weight = bitsandbytes.nn.Params4bit(
        floats(3), requires_grad=False, quant_type=kind, compress_statistics=nested, blocksize=GROUP
    )
    packed = packed.to("cpu")  # quantises
    values = bitsandbytes.functional.dequantize_4bit(packed.weight.data, packed.weight.quant_state)
    return {
        "name": f"bitsandbytes, {kind}{', nested' if nested else ''}",
        "config": {
            "quant_method": "bitsandbytes",
            "bits": 4,
            "load_in_4bit": True,
            "bnb_4bit_quant_type": kind,
            "bnb_4bit_use_double_quant": nested,
        },
        "tensors": stored(packed),
        "values": encoded(values, np.float32),
    }


def int8():
    packed = bitsandbytes.nn.Linear8bitLt(COLS, ROWS, bias=False, has_fp16_weights=False)
    packed.load_state_dict({"weight": floats(4)}, strict=False)
    packed = packed.to("cpu")  # quantises
    values = bitsandbytes.functional.int8_vectorwise_dequant(packed.weight.data, packed.weight.SCB)
    return {
        "name": "bitsandbytes, int8",
        "config": {"quant_method": "bitsandbytes", "bits": 8, "load_in_8bit": True},
        "tensors": stored(packed),
        "values": encoded(values, np.float32),
    }


def main():
    gptq_folder, awq_folder = map(pathlib.Path, sys.argv[1:])
    conv = types.SimpleNamespace(Conv1D=Nothing)
    cuda = load(
        gptq_folder / "auto_gptq/nn_modules/qlinear/qlinear_cuda.py", transformers={"pytorch_utils": conv}
    )
    unpack = load(awq_folder / "awq/utils/packing_utils.py")
    gemm = load(
        awq_folder / "awq/modules/linear/gemm.py",
        awq={},
        awq__utils={},
        awq__utils__module={"try_import": lambda name: (None, "")},
        awq__utils__utils={"get_best_device": lambda: "cpu"},
        awq__utils__packing_utils={"dequantize_gemm": unpack.dequantize_gemm},
    )
    cases = [gptq(cuda, bits, symmetric, None) for bits in (2, 3, 4, 8) for symmetric in (True, False)]
    cases += [gptq(cuda, 4, True, 1), gptq(cuda, 8, False, 2), awq(gemm, unpack)]
    cases += [table(kind, nested) for kind in ("nf4", "fp4") for nested in (False, True)] + [int8()]
    OUT.write_text(json.dumps({"cases": cases}, indent=1) + "\n")


main()
