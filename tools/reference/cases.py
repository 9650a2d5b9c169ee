"""The reference cases: every family, and the odd configurations that catch mistakes."""

import copy
import dataclasses

from case_type import (Case, DROP, FULL, SLIDING, dense_text, e_text, moe_text, text, unified_text)


def rope(full=None, sliding=None):
    """rope_parameters with the reference's values except where told otherwise; None drops a key."""
    values = {SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
              FULL: {"rope_type": "proportional", "rope_theta": 1000000.0,
                     "partial_rotary_factor": 0.25}}
    for kind, changes in ((FULL, full), (SLIDING, sliding)):
        for key, value in (changes or {}).items():
            if value is None:
                del values[kind][key]
            else:
                values[kind][key] = value
    return values


def e_cases():
    yield Case("e2b_like", "E2B", "published spelling, conditional, PLE, shared KV, double-wide MLP",
               e_text("SSSSFSSSSF", 5, use_double_wide_mlp=True), conditional=True)
    yield Case("e2b_35_layers", "E2B",
               "the whole layer pattern of E2B: 35 layers, 20 of them shared; the root of the "
               "hidden size rounded to bf16 in an f32 model",
               e_text("SSSSF" * 7, 20, use_double_wide_mlp=True, intermediate_size=16,
                      head_dim=4, global_head_dim=8, hidden_size_per_layer_input=6),
               conditional=True)
    yield Case("e2b_saved", "E2B", "the same parts in the per_layer_config spelling, keys '4', '9' "
               "without padding", e_text("SSSSFSSSSF", 5, use_double_wide_mlp=True),
               form="saved", conditional=True, tokens=19)
    yield Case("e2b_towers", "E2B", "vision and audio towers in the file, to be ignored",
               e_text("SSFSF", 2, use_double_wide_mlp=True), conditional=True, towers=True,
               tokens=12)
    yield Case("e4b_like", "E4B", "12 layers, 5 shared, MLP not doubled, two KV heads",
               e_text("SSSSSF" * 2, 5, num_key_value_heads=2), conditional=True)
    yield Case("e4b_saved", "E4B", "per_layer_config keys padded with a zero: '05', '11'",
               e_text("SSSSSF" * 2, 5, num_key_value_heads=2), form="saved", tokens=17)
    yield Case("e_text_only", "E2B", "text-only file, prefix model. and fields at the top",
               e_text("SSFSF", 2, use_double_wide_mlp=True), tokens=20)
    yield Case("e_redundant_tensors", "E2B",
               "k_proj, v_proj and k_norm of shared layers are in the file and must not be used",
               e_text("SSFSSF", 3), conditional=True, extra=("shared_kv",))
    yield Case("e_shared_same_head_dim", "E2B",
               "one head_dim for both kinds: reading the wrong donor is no shape error",
               e_text("SSFSSF", 3, global_head_dim=8))
    yield Case("e_many_shared", "E2B", "two layers own KV, six read it",
               e_text("SFSSFSSF", 6, use_double_wide_mlp=True))
    yield Case("e_one_shared", "E4B", "one shared layer", e_text("SSFSF", 1))
    yield Case("e_no_shared", "E2B", "nothing shared: use_double_wide_mlp has no effect",
               e_text("SSSF", 0, use_double_wide_mlp=True))
    yield Case("e_donor_not_last", "E2B",
               "the full donor is two layers below the first shared one, the sliding one just below",
               e_text("SFSSSFS" + "F", 3))
    yield Case("e_eps_1e-2", "E2B", "eps large enough to show the constants before a norm: "
               "hidden^(-1/2) and 2^(-1/2) of the per-layer input",
               e_text("SSFSF", 2, rms_norm_eps=1e-2))
    yield Case("eps_1e-3", "odd", "PLE, experts, K=V and shared KV together, eps 1e-3: constants "
               "before a norm, renormalising of expert weights",
               moe_text("SSFSF", 6, 2, 10, hidden_size_per_layer_input=10, num_kv_shared_layers=2,
                        rms_norm_eps=1e-3))
    yield Case("e_small_ple_vocab", "E4B", "vocab_size_per_layer_input below vocab_size",
               e_text("SSFSF", 2, vocab_size=112, vocab_size_per_layer_input=50), prompt_vocab=50)
    yield Case("e_k_eq_v", "odd", "PLE and shared KV with K=V full layers",
               e_text("SSFSSF", 3, attention_k_eq_v=True, num_key_value_heads=2,
                      num_global_key_value_heads=1))
    yield Case("e_window_4", "E2B", "shared layers, prompt over six windows",
               e_text("SSFSF", 2, sliding_window=4, use_double_wide_mlp=True), tokens=27)
    yield Case("e_untied", "E4B", "own lm_head beside PLE", e_text("SSFSF", 2), tie=False,
               conditional=True, tokens=16)
    yield Case("e_long_prompt", "E2B", "300 tokens, window 32: ring and page edges, shared layers",
               e_text("SSFSF", 2, sliding_window=32, use_double_wide_mlp=True), tokens=300)


def dense_cases():
    yield Case("unified_12b_like", "12B", "K=V in full layers, one KV head there, 'vision' masks",
               unified_text("SSSSSF" * 2), conditional=True, unified=True)
    yield Case("unified_saved", "12B", "text-only unified file, per_layer_config",
               unified_text("SSSSSF"), unified=True, form="saved", tokens=18)
    yield Case("unified_towers", "12B", "embedders of pictures and sound in the file, ignored",
               unified_text("SSF"), unified=True, conditional=True, towers=True, tokens=12)
    yield Case("unified_shared_double_wide", "12B", "the unified class knows shared KV and "
               "double-wide MLP but no PLE",
               unified_text("SSFSSF", num_kv_shared_layers=3, use_double_wide_mlp=True),
               unified=True)
    yield Case("dense_31b_like", "31B", "8 heads, 4 KV heads sliding, 1 full, K=V",
               dense_text("SSSSSF" * 2, num_attention_heads=8, num_key_value_heads=4, head_dim=6,
                          global_head_dim=12), conditional=True)
    yield Case("dense_k_eq_v", "31B", "v is the raw k projection: before k_norm, without rope",
               dense_text("SSFSF"))
    yield Case("dense_k_eq_v_same_heads", "31B", "K=V with num_global_key_value_heads null",
               dense_text("SSFSF", num_global_key_value_heads=None))
    yield Case("dense_k_eq_v_saved", "31B", "K=V in the per_layer_config spelling",
               dense_text("SSFSF"), form="saved", conditional=True)
    yield Case("dense_global_kv_ignored", "odd",
               "num_global_key_value_heads given, but without K=V it does not count",
               dense_text("SSFSF", attention_k_eq_v=False))
    yield Case("dense_more_global_kv", "odd", "more KV heads in full layers than in sliding ones",
               dense_text("SSF", num_key_value_heads=1, num_global_key_value_heads=4))
    yield Case("dense_mha", "odd", "as many KV heads as heads", text("SSF", num_key_value_heads=4))
    yield Case("dense_mqa", "odd", "one KV head for six heads",
               text("SSF", num_attention_heads=6, num_key_value_heads=1))
    yield Case("dense_same_head_dim", "odd", "equal head_dims: per_layer_config is saved nearly "
               "empty", text("SSF", global_head_dim=8), form="saved")
    yield Case("dense_full_smaller", "odd", "head_dim of full layers below that of sliding ones",
               text("SSF", head_dim=16, global_head_dim=8))
    yield Case("dense_untied", "odd", "own lm_head", text("SSF"), tie=False)
    yield Case("no_softcap", "odd", "final_logit_softcapping null",
               text("SSF", final_logit_softcapping=None))
    yield Case("softcap_5", "odd", "a cap that flattens nearly all logits",
               text("SSF", final_logit_softcapping=5.0))
    yield Case("odd_sizes", "odd", "no size is a multiple of 4: tails of every kernel",
               e_text("SSFSF", 2, hidden_size=45, intermediate_size=37, vocab_size=101,
                      num_attention_heads=3, num_key_value_heads=1, head_dim=6, global_head_dim=14,
                      hidden_size_per_layer_input=7, sliding_window=5, use_double_wide_mlp=True),
               tokens=23)
    yield Case("one_token", "odd", "a prompt of one token", e_text("SSFSF", 2), tokens=1)
    yield Case("two_tokens", "odd", "a prompt of two tokens", dense_text("SSF"), tokens=2)
    yield Case("single_layer", "odd", "one full-attention layer", dense_text("F"))
    yield Case("all_full", "odd", "no sliding layer", dense_text("FFF"))
    yield Case("long_prompt", "31B", "300 tokens, window 32: ring and page edges",
               dense_text("SSFSF", sliding_window=32), tokens=300)
    yield Case("window_1", "odd", "each sliding row sees only itself",
               text("SSF", sliding_window=1))
    yield Case("window_2", "odd", "the smallest real window", text("SSSF", sliding_window=2))
    yield Case("window_is_prompt", "odd", "window equal to the prompt: nothing falls out",
               text("SSSF", sliding_window=24))
    yield Case("window_is_prompt_minus_1", "odd", "only the last row loses its first key",
               text("SSSF", sliding_window=23))
    yield Case("window_over_prompt", "odd", "window longer than the prompt",
               text("SSF", sliding_window=512))
    yield Case("head_dim_512_by_default", "odd", "global_head_dim absent from the file means 512",
               dense_text("SF", hidden_size=24, num_attention_heads=2, num_key_value_heads=1,
                          global_head_dim=512), file_text={"global_head_dim": DROP}, tokens=12)
    yield Case("bf16_root_up", "odd", "sqrt(56) rounds up in bf16; an f32 model must not round",
               e_text("SSF", 0, hidden_size=56, hidden_size_per_layer_input=12), tokens=16)


def file_cases():
    """Oddities of the files rather than of the model."""
    yield Case("no_layer_types", "odd", "layer_types absent: every sixth is full, and the last",
               text("SSSSSFSF"), file_text={"layer_types": DROP})
    yield Case("last_layer_forced_full", "odd", "the file says that the last layer is sliding",
               text("SSFSF"), file_text={"layer_types": [SLIDING, SLIDING, FULL, SLIDING, SLIDING]})
    yield Case("layers_off_pattern", "odd", "kinds of layers in no regular order",
               e_text("FSSFFSSSF", 4))
    yield Case("rope_parameters_absent", "odd", "rope_parameters absent: the usual two",
               text("SSF"), file_text={"rope_parameters": DROP})
    yield Case("saved_empty_per_layer_config", "odd",
               "per_layer_config {} wins over the global keys that stand beside it",
               text("SSF", global_head_dim=8), form="saved",
               file_text={"per_layer_config": {}, "global_head_dim": 16,
                          "num_global_key_value_heads": 1})
    yield Case("saved_sliding_overridden", "odd",
               "per_layer_config lists the sliding layers; the fields outside are the full ones'",
               dense_text("SSFSF"), form="saved",
               file_text={"head_dim": 16, "num_key_value_heads": 1,
                          "per_layer_config": {str(i): {"head_dim": 8, "num_key_value_heads": 2}
                                               for i in (0, 1, 3)}})
    yield Case("older_null_keys", "odd", "null values of keys that nobody knows",
               text("SSF"), file_text={"expert_intermediate_size": None, "query_rescale": None},
               file_top={"audio_config": None, "vision_config": None})
    yield Case("tie_nested_ignored", "odd",
               "tie_word_embeddings false inside text_config does not count; the top level does",
               text("SSF"), conditional=True, file_text={"tie_word_embeddings": False})
    yield Case("tied_equal_head", "odd", "lm_head.weight beside tied embeddings, equal",
               text("SSF"), extra=("equal_head",), tokens=12)
    yield Case("tied_other_head", "odd", "lm_head.weight beside tied embeddings, different: used",
               text("SSF"), extra=("other_head",), tokens=12)
    yield Case("sharded", "odd", "several files by model.safetensors.index.json",
               e_text("SSFSF", 2, use_double_wide_mlp=True), conditional=True, shard_bytes=50000)
    yield Case("f16", "odd", "weights stored in f16 (roots of the sizes are whole numbers)",
               e_text("SSFSF", 2, hidden_size=64, hidden_size_per_layer_input=16), dtype="f16")
    for name, note, full in (
            ("rope_half", "half of the pairs turn", {"partial_rotary_factor": 0.5}),
            ("rope_whole", "all pairs turn", {"partial_rotary_factor": 1.0}),
            ("rope_partial_absent", "partial_rotary_factor absent means 1", {
                "partial_rotary_factor": None}),
            ("rope_none", "the factor leaves no pair: no rotation", {
                "partial_rotary_factor": 0.1}),
            ("rope_floor", "floor of the number of pairs", {"partial_rotary_factor": 0.45}),
            ("rope_factor", "frequencies divided by factor", {"factor": 4.0})):
        yield Case(name, "odd", "proportional rope: " + note,
                   text("SSF", rope_parameters=rope(full=dict(full, rope_theta=100.0))))
    yield Case("rope_default_on_full", "odd", "default rope in full layers ignores the partial "
               "factor", text("SSF", rope_parameters=rope(full={"rope_type": "default",
                                                                "rope_theta": 100.0})))
    yield Case("rope_proportional_on_sliding", "odd", "proportional rope in sliding layers",
               text("SSF", head_dim=16, global_head_dim=24, rope_parameters=rope(
                   sliding={"rope_type": "proportional", "rope_theta": 50.0,
                            "partial_rotary_factor": 0.5})))


def moe_cases():
    yield Case("moe_26b_like", "26B-A4B", "12 experts top 4, K=V, conditional",
               moe_text("SSSSSF", 12, 4, 5), conditional=True)
    yield Case("moe_8_top_2", "26B-A4B", "router input, scale, hidden^(-1/2), per_expert_scale",
               moe_text("SSF", 8, 2, 10))
    yield Case("moe_128_top_8", "26B-A4B", "as many experts as the real model",
               moe_text("SF", 128, 8, 3, hidden_size=24), tokens=20)
    yield Case("moe_1_expert", "odd", "one expert: its weight is per_expert_scale alone",
               moe_text("SSF", 1, 1, 12))
    yield Case("moe_all_chosen", "odd", "top_k equal to the number of experts",
               moe_text("SSF", 4, 4, 8))
    yield Case("moe_saved", "26B-A4B", "experts in the per_layer_config spelling",
               moe_text("SSSSSF", 4, 2, 8), form="saved", conditional=True, tokens=16)
    yield Case("moe_eps_1e-2", "26B-A4B", "eps 1e-2 shows the scale of the experts' sum",
               moe_text("SSF", 8, 2, 10, rms_norm_eps=1e-2))
    yield Case("moe_odd_sizes", "26B-A4B", "no size is a multiple of 4",
               moe_text("SSF", 7, 3, 9, hidden_size=43, intermediate_size=31, vocab_size=97,
                        num_attention_heads=6, num_key_value_heads=3, head_dim=10,
                        global_head_dim=18, num_global_key_value_heads=1, sliding_window=7))
    yield Case("moe_untied", "26B-A4B", "experts with an own lm_head",
               moe_text("SF", 4, 2, 8), tie=False, tokens=12)


# Cases that have a twin with weights stored in bf16, for the checks of precision and of greedy ids.
BF16_TWINS = ("e2b_like", "e2b_35_layers", "e4b_like", "e_redundant_tensors", "unified_12b_like",
              "dense_31b_like", "dense_k_eq_v", "moe_26b_like", "moe_8_top_2", "moe_128_top_8",
              "odd_sizes", "long_prompt", "e_window_4", "bf16_root_up", "dense_untied")


def all_cases():
    cases = [case for group in (e_cases, dense_cases, file_cases, moe_cases) for case in group()]
    by_name = {case.name: case for case in cases}
    assert len(by_name) == len(cases), "two cases have one name"
    for name in BF16_TWINS:
        twin = dataclasses.replace(copy.deepcopy(by_name[name]), name=name + "_bf16", dtype="bf16",
                                   note="weights in bf16: " + by_name[name].note)
        cases.append(twin)
    cases.append(Case("mixed_norms_f32_bf16", "E2B",
                      "matrices in bf16, norms and scalars in f32, as some fine-tunes are saved",
                      e_text("SSFSF", 2), dtype="bf16", extra=("norms_f32",), conditional=True))
    return cases
