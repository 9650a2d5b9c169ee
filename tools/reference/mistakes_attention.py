"""Known mistakes in attention: heads, values, rope, masks, shared KV."""

import math

import numpy as np

from mistake_registry import method, mistake
from numpy_gemma4 import Gemma4
from plain_file import FULL, SLIDING


# --- attention ---------------------------------------------------------------------------------

@method("scores", "scores divided by sqrt(head_dim)")
def _(self, q, k):
    return q @ k.T / np.sqrt(q.shape[-1])


@method("scores", "scores divided by the root of the sliding head_dim everywhere")
def _(self, q, k):
    return q @ k.T / np.sqrt(self.config.head_dims[0])


@method("scores", "soft cap of 50 on scores")
def _(self, q, k):
    return 50 * np.tanh(q @ k.T / 50)


@mistake("v norm forgotten")
class _(Gemma4):
    def value(self, layer, w, r, k0):
        if self.config.k_eq_v and self.config.kinds[layer] == FULL:
            return k0
        return (r @ w["self_attn.v_proj.weight"].T).reshape(k0.shape)


@mistake("K=V: v taken after k_norm")
class _(Gemma4):
    def value(self, layer, w, r, k0):
        if self.config.k_eq_v and self.config.kinds[layer] == FULL:
            return self.norm(k0, w["self_attn.k_norm.weight"])
        return super().value(layer, w, r, k0)


@mistake("K=V: v taken after k_norm and rope")
class _(Gemma4):
    def value(self, layer, w, r, k0):
        if self.config.k_eq_v and self.config.kinds[layer] == FULL:
            return self.rope(layer, self.norm(k0, w["self_attn.k_norm.weight"]))
        return super().value(layer, w, r, k0)


@mistake("K=V: v with rope")
class _(Gemma4):
    def value(self, layer, w, r, k0):
        v = super().value(layer, w, r, k0)
        return self.rope(layer, v) if self.config.k_eq_v and self.config.kinds[layer] == FULL else v


@mistake("K=V in sliding layers too")
class _(Gemma4):
    def value(self, layer, w, r, k0):
        return self.norm(k0) if self.config.k_eq_v else super().value(layer, w, r, k0)


@mistake("K=V layers expected to have v_proj")
class _(Gemma4):
    def value(self, layer, w, r, k0):
        return self.norm((r @ w["self_attn.v_proj.weight"].T).reshape(k0.shape))


@method("query", "q_norm forgotten")
def _(self, layer, w, r):
    return self.rope(layer, (r @ w["self_attn.q_proj.weight"].T).reshape(
        len(r), self.config.heads, -1))


@method("query", "rope before q_norm")
def _(self, layer, w, r):
    q = (r @ w["self_attn.q_proj.weight"].T).reshape(len(r), self.config.heads, -1)
    return self.norm(self.rope(layer, q), w["self_attn.q_norm.weight"])


@method("kv_head", "query heads mapped to KV heads by remainder")
def _(self, head, kv_heads):
    return head % kv_heads


@method("kv_head", "all query heads read the first KV head")
def _(self, head, kv_heads):
    return 0


# --- rope --------------------------------------------------------------------------------------

@method("turn", "rope pairs neighbours instead of halves")
def _(self, u, cos, sin):
    a, b = u[..., 0::2], u[..., 1::2]
    out = np.empty_like(u)
    out[..., 0::2], out[..., 1::2] = a * cos - b * sin, b * cos + a * sin
    return out


@method("turn", "rope turns the wrong way")
def _(self, u, cos, sin):
    half = u.shape[-1] // 2
    a, b = u[..., :half], u[..., half:]
    # Turning all q and k the other way leaves scores equal; only the keys' sign must differ.
    sin = sin if u.shape[1] == self.config.heads else -sin
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@mistake("proportional rope as plain partial rotary")
class _(Gemma4):
    def rope(self, layer, u):
        rope = self.config.rope[self.config.kinds[layer]]
        if rope["rope_type"] != "proportional":
            return super().rope(layer, u)
        dim = 2 * int(rope.get("partial_rotary_factor", 1.0) * u.shape[-1] // 2)
        if dim == 0:
            return u
        f = np.float32(rope["rope_theta"]) ** -(np.arange(0, dim, 2) / dim)
        angle = np.arange(len(u))[:, None] * f / rope.get("factor", 1.0)
        turned = self.turn(u[..., :dim], np.cos(angle)[:, None], np.sin(angle)[:, None])
        return np.concatenate([turned, u[..., dim:]], axis=-1)


def wrong_rope(text, **changes):
    """A mistake in how rope_parameters are read: changes map (kind, key) to a wrong value."""
    class Wrong(Gemma4):
        def __init__(self, folder):
            super().__init__(folder)
            self.config.rope = {kind: dict(values) for kind, values in self.config.rope.items()}
            for kind in (SLIDING, FULL):
                values = self.config.rope[kind]
                if values["rope_type"] == "proportional" or "everywhere" in changes:
                    values.update({k: v for k, v in changes.items() if k != "everywhere"})
    mistake(text)(Wrong)


wrong_rope("proportional rope turns all dimensions", partial_rotary_factor=1.0)
wrong_rope("proportional rope always of a quarter", partial_rotary_factor=0.25)
wrong_rope("rope factor forgotten", factor=1.0)
wrong_rope("one theta of 10000 for both kinds", rope_theta=10000.0, everywhere=True)
wrong_rope("default rope honours the partial factor", rope_type="proportional", everywhere=True)


@mistake("number of turning pairs rounded up instead of down")
class _(Gemma4):
    def frequencies(self, layer):
        rope = dict(self.config.rope[self.config.kinds[layer]])
        half = self.config.head_dims[layer] // 2
        if rope["rope_type"] == "proportional":
            pairs = math.ceil(rope.get("partial_rotary_factor", 1.0) * half)
            self.config.rope = dict(self.config.rope)
            self.config.rope[self.config.kinds[layer]] = dict(
                rope, partial_rotary_factor=pairs / half)
        return super().frequencies(layer)


@method("rope", "position of the first token is 1 for keys only")
def _(self, layer, u):
    f = self.frequencies(layer)
    start = 0 if u.shape[1] == self.config.heads else 1
    angle = np.arange(start, start + len(u))[:, None] * f
    return self.turn(u, np.cos(angle)[:, None], np.sin(angle)[:, None])


# --- masks and sharing -------------------------------------------------------------------------

def wrong_mask(text, sliding=None, full=None):
    def allowed(self, layer, tokens):
        t, s = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
        if self.config.kinds[layer] == FULL:
            return full(self, t, s) if full else s <= t
        return sliding(self, t, s) if sliding else (s <= t) & (t - s < self.config.window)
    method("allowed", text)(allowed)


wrong_mask("window one too long",
           sliding=lambda self, t, s: (s <= t) & (t - s <= self.config.window))
wrong_mask("window one too short",
           sliding=lambda self, t, s: (s <= t) & ((t - s < self.config.window - 1) | (t == s)))
wrong_mask("window forgotten", sliding=lambda self, t, s: s <= t)
wrong_mask("window in full layers too",
           full=lambda self, t, s: (s <= t) & (t - s < self.config.window))
wrong_mask("no causal mask", full=lambda self, t, s: (s >= 0) & (t >= 0))


@mistake("shared layers project their own K and V where the file has them")
class _(Gemma4):
    def own_or_shared(self, layer, w, r, memory):
        if "self_attn.k_proj.weight" in w:
            memory.setdefault(layer, self.keys_values(layer, w, r))
            return memory[layer]
        return super().own_or_shared(layer, w, r, memory)


@method("donor", "shared layers read the last unshared layer of any kind")
def _(self, layer):
    return self.config.first_shared - 1


@method("donor", "shared layers read the first layer of their kind")
def _(self, layer):
    return self.config.kinds.index(self.config.kinds[layer])


@mistake("first shared layer is one too late")
class _(Gemma4):
    def __init__(self, folder):
        super().__init__(folder)
        self.config.shared = max(0, self.config.shared - 1)
