"""Runs transformers on a checkpoint folder: logits, the residual stream of every layer, greedy."""

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
# One thread: sums are then added in one order, and goldens repeat bit for bit on one machine.
torch.set_num_threads(1)


def bf16(value):
    return float(torch.tensor(value, dtype=torch.float32).to(torch.bfloat16))


def load(folder, dtype, attention, **options):
    """AutoModelForCausalLM picks the conditional class where the file is of that kind.

    Gemma4ForCausalLM on a conditional checkpoint would leave every weight random without an error,
    hence the check of the loading report.
    """
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, output_loading_info=True,
        **options)
    for kind, names in report.items():
        if names:
            raise RuntimeError(f"{folder}: transformers reports {kind}: {sorted(names)[:5]}")
    return model.eval()


def text_model(model):
    inner = model.model
    return getattr(inner, "language_model", inner)


def round_embed_scales(model):
    """sqrt(hidden_size) and the per-layer table's root as a bf16 model multiplies with them.

    The published models were made with the rounded roots, so a table that is stored in
    bf16 is multiplied with them even if all else is computed in float32. transformers rounds only
    when it also computes in bf16.
    """
    text = text_model(model)
    for name in ("embed_tokens", "embed_tokens_per_layer"):
        module = getattr(text, name, None)
        if module is not None:
            module.embed_scale.copy_(torch.tensor(bf16(module.scalar_embed_scale)))


def load_f32(folder, stored):
    # The grouped kernel for experts refuses widths that are no multiple of 16 bytes.
    model = load(folder, torch.float32, "eager", experts_implementation="eager")
    if stored == "bf16":
        round_embed_scales(model)
    return model


def load_bf16(folder):
    """As a user runs it: everything in bf16, the default attention and experts where they can."""
    text = transformers.AutoConfig.from_pretrained(folder).get_text_config()
    width = getattr(text, "moe_intermediate_size", None) or 0
    odd = text.hidden_size % 8 or width % 8
    options = {"experts_implementation": "eager"} if width and odd else {}
    return load(folder, torch.bfloat16, "sdpa", **options)


@torch.no_grad()
def run(model, ids):
    """logits [tokens, vocab] f32 and the list hidden[0..layers] of [tokens, hidden] f32.

    hidden[0] is the scaled embedding, hidden[i] the residual stream after layer i - 1, taken by
    hooks: the reference's own hidden_states has the final norm applied to its last entry.
    """
    hidden = []
    text = text_model(model)
    hooks = [text.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: hidden.append(
            (args[0] if args else kwargs["hidden_states"])[0].float().clone()), with_kwargs=True)]
    for layer in text.layers:
        hooks.append(layer.register_forward_hook(
            lambda module, args, output: hidden.append(
                (output[0] if isinstance(output, tuple) else output)[0].float().clone())))
    try:
        # output_hidden_states: without it the gemma4 class fails on shared KV with no PLE, since it
        # slices per-layer inputs that are None.
        output = model(input_ids=torch.as_tensor(ids)[None], use_cache=False,
                       output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    return output.logits[0].float(), hidden


@torch.no_grad()
def last_hidden_state(model, ids):
    """[tokens, hidden] f32: the last residual stream after the final norm."""
    # output_hidden_states: as in run.
    output = model.model(input_ids=torch.as_tensor(ids)[None], use_cache=False,
                         output_hidden_states=True)
    return output.last_hidden_state[0].float()


@torch.no_grad()
def greedy(model, ids, steps):
    """Ids [steps] chosen one by one, each from a full pass, and top-1 minus top-2 logit [steps]."""
    ids = [int(token) for token in ids]
    chosen, gaps = [], []
    for _ in range(steps):
        logits = model(input_ids=torch.tensor([ids + chosen]), use_cache=False,
                       output_hidden_states=True).logits[0, -1].float()
        best = torch.topk(logits, 2)
        chosen.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
    return torch.tensor(chosen, dtype=torch.int64), torch.tensor(gaps, dtype=torch.float32)
