"""The tokenizer: byte-level BPE with single digits, in the Hugging Face format."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from documents import END, END_TURN, START_TURN
from words import common_lines

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    # One token per digit keeps arithmetic regular.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=1, show_progress=False,
        special_tokens=[END, START_TURN, END_TURN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(list(texts) + common_lines(), trainer)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, length: int) -> None:
    """tokenizer.json, tokenizer_config.json and generation_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: tokenizer.token_to_id(name) for name in (END, START_TURN, END_TURN)}
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(number): {"content": name, "lstrip": False, "normalized": False,
                          "rstrip": False, "single_word": False, "special": True}
            for name, number in ids.items()},
        "bos_token": END,
        "eos_token": END_TURN,
        "pad_token": END,
        "unk_token": END,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": length,
        "tokenizer_class": "GPT2Tokenizer",
    }
    # Plain text ends with <|endoftext|>, a chat turn with <|im_end|>: both stop.
    generation = {"bos_token_id": ids[END], "eos_token_id": [ids[END_TURN], ids[END]],
                  "do_sample": False}
    for name, value in (("tokenizer_config.json", config),
                        ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
