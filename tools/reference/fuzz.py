"""Random cases: any family, random sizes, both spellings, text-only and conditional files."""

import random

from case_type import (FULL, SLIDING, Case, dense_text, e_text, moe_text, text, unified_text)


def random_rope(rng):
    full = {"rope_type": "proportional", "rope_theta": rng.choice([50.0, 1e4, 1e6])}
    if rng.random() < 0.8:
        full["partial_rotary_factor"] = rng.choice([0.1, 0.25, 0.3, 0.5, 0.75, 1.0])
    if rng.random() < 0.2:
        full["factor"] = rng.choice([2.0, 8.0])
    if rng.random() < 0.15:
        full = {"rope_type": "default", "rope_theta": 1e5}
    return {SLIDING: {"rope_type": "default", "rope_theta": rng.choice([30.0, 1e4])}, FULL: full}


def random_pattern(rng, first_shared, layers):
    """Kinds of layers: the last is full, and a kind that occurs above first_shared occurs below."""
    while True:
        kinds = [rng.choice("SSSF") for _ in range(layers - 1)] + ["F"]
        if set(kinds[first_shared:]) <= set(kinds[:first_shared]) or first_shared == layers:
            return "".join(kinds)


def random_case(seed, tokens=None):
    """A case from a seed. Small enough that float32 sums differ by some 1e-6."""
    rng = random.Random(seed)
    family = rng.choice(["E2B", "E4B", "12B", "26B-A4B", "31B", "odd"])
    layers = rng.randint(1, 8)
    shares = family in ("E2B", "E4B", "odd") and layers >= 4
    shared = rng.randint(0, layers - 2) if shares else 0
    pattern = random_pattern(rng, layers - shared, layers)
    kv_heads = rng.choice([1, 1, 2, 3, 4])
    heads = kv_heads * rng.choice([1, 2, 4])
    global_kv = rng.choice([None] + [m for m in (1, 2, 3, 4) if heads % m == 0])
    vocab = rng.randint(40, 160)
    values = dict(
        vocab_size=vocab, hidden_size=rng.randint(12, 72), intermediate_size=rng.randint(5, 80),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        head_dim=2 * rng.randint(2, 16), global_head_dim=2 * rng.randint(2, 24),
        num_global_key_value_heads=global_kv, attention_k_eq_v=rng.random() < 0.5,
        sliding_window=rng.choice([1, 2, 5, 8, 13, 16, 32, 64]),
        rms_norm_eps=rng.choice([1e-6, 1e-6, 1e-5, 1e-3]),
        final_logit_softcapping=rng.choice([30.0, 30.0, 10.0, None]),
        rope_parameters=random_rope(rng), num_kv_shared_layers=shared,
        use_double_wide_mlp=rng.random() < 0.5)
    prompt_vocab = 0
    if family in ("E2B", "E4B"):
        values["hidden_size_per_layer_input"] = rng.randint(2, 20)
        if rng.random() < 0.2:
            prompt_vocab = vocab // 2
            values["vocab_size_per_layer_input"] = prompt_vocab
        config = e_text(pattern, shared, **values)
    elif family == "12B":
        config = unified_text(pattern, **values)
    elif family == "26B-A4B":
        experts = rng.choice([1, 2, 3, 5, 8, 16, 40])
        config = moe_text(pattern, experts, rng.randint(1, min(8, experts)), rng.randint(3, 24),
                          **values)
    else:
        config = (dense_text if family == "31B" else text)(pattern, **values)
    return Case(f"fuzz_{seed}", family, "random", config, form=rng.choice(["published", "saved"]),
                conditional=rng.random() < 0.5, unified=family == "12B", tie=rng.random() < 0.8,
                tokens=tokens or rng.choice([1, 2, 7, 16, 17, 33, 65, 100]),
                dtype=rng.choice(["f32", "f32", "f32", "bf16", "f16"]), prompt_vocab=prompt_vocab,
                branch=0.5, shard_bytes=rng.choice([0, 0, 0, 40000]), seed=seed + 1)
