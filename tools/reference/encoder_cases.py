"""The cases of images, videos and sounds: towers and projections, and whole models on mixed media."""

import dataclasses
import zlib

from case_type import dense_text, e_text, moe_text, unified_text

# Ids of the media's tokens, inside the tiny vocabulary.
TOKENS = dict(boi_token_id=60, eoi_token_id=61, boa_token_id=62, eoa_token_index=63,
              image_token_id=64, audio_token_id=65, video_token_id=66)
VOCAB = 72

VISION = dict(hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
              num_key_value_heads=3, head_dim=8, patch_size=2, pooling_kernel_size=3,
              position_embedding_size=24)
# subsampling_conv_channels[0] div 4 is the number of frequencies that are left: 12 mel bins.
AUDIO = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
             subsampling_conv_channels=[12, 6], output_proj_dims=14)
UNIFIED_VISION = dict(patch_size=2, pooling_kernel_size=3, mm_embed_dim=20, mm_posemb_size=12)
UNIFIED_AUDIO = dict(audio_embed_dim=10)


@dataclasses.dataclass
class MediaCase:
    name: str
    family: str
    note: str
    text: dict
    vision: dict = None
    audio: dict = None
    images: tuple = ()  # grids (columns, rows) of patches, or of blocks of a projection
    videos: tuple = ()  # of each video, the grids of its frames
    sounds: tuple = ()  # frames of each sound, or blocks of a projection
    in_prompt: tuple = (99, 99, 99)  # so many images, videos and sounds are in the prompt
    bins: int = 12
    dtype: str = "f32"
    unified: bool = False
    memory_names: bool = False  # a file with the names that transformers has in memory
    published_rope: bool = False  # rope_type "default", global_head_dim, default_output_length
    missing_bounds: tuple = ()  # endings of names of bounds that are not in the file
    tokens: dict = dataclasses.field(default_factory=lambda: dict(TOKENS))
    spread: float = 1.0  # of the values of the inputs
    seed: int = 0

    def __post_init__(self):
        if not self.seed:
            base = self.name.removesuffix("_bf16")
            self.seed = zlib.crc32(base.encode()) % 1000000

    @property
    def side(self):
        """Patches a side of a soft token."""
        return 1 if self.unified else self.vision["pooling_kernel_size"]


def cases():
    e_model = dict(
        text=e_text("SSFSF", 2, vocab_size=VOCAB, use_double_wide_mlp=True),
        vision=dict(VISION, use_clipped_linears=True, num_hidden_layers=3),
        audio=dict(AUDIO, use_clipped_linears=True),
        images=((6, 3), (3, 3), (3, 9), (12, 6)), videos=(((6, 3), (6, 3), (6, 3)),),
        # 1, 2, 12, 13, 25 and 100 soft tokens.
        sounds=(1, 7, 47, 52, 99, 399), in_prompt=(3, 1, 4))
    yield MediaCase("e_like", "E2B", "clips at values that clip, per-layer embeddings, causal image "
                    "tokens; images of one row and of one column of soft tokens", **e_model)
    yield MediaCase("e_like_bf16", "E2B", "the same in bf16", dtype="bf16", **e_model)
    # Operands of more than 512 addends, which culet rounds to bf16.
    wide = dict(vision=dict(VISION, patch_size=16, hidden_size=48, head_dim=16,
                            use_clipped_linears=True),
                text=e_text("SF", 0, vocab_size=VOCAB), images=((6, 6), (3, 3)))
    yield MediaCase("e_published_patches_bf16", "E4B", "patches of 16 × 16 pixels", dtype="bf16",
                    published_rope=True, **wide)
    yield MediaCase(
        "e_odd", "odd", "odd sizes everywhere: fewer KV heads than heads, pooling of 2, another "
        "chunk, context and cap of the audio attention, future keys, gradient_clipping that clips, "
        "eps that shows where it is not used, bounds that are not in the file",
        e_text("SF", 0, vocab_size=VOCAB),
        vision=dict(hidden_size=10, intermediate_size=7, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=4, patch_size=3, pooling_kernel_size=2,
                    position_embedding_size=9, rms_norm_eps=1e-2, use_clipped_linears=True,
                    rope_parameters={"rope_type": "axial", "rope_theta": 7.0}),
        audio=dict(hidden_size=18, num_hidden_layers=2, num_attention_heads=3,
                   subsampling_conv_channels=[14, 5], output_proj_dims=7, conv_kernel_size=3,
                   residual_weight=0.3, attention_chunk_size=4, attention_context_left=6,
                   attention_context_right=3, attention_logit_cap=2.0, gradient_clipping=1.1,
                   rms_norm_eps=1e-2, use_clipped_linears=True),
        images=((8, 2), (2, 2), (2, 6), (4, 4)), sounds=(3, 26, 61), bins=11,
        missing_bounds=("q_proj.input_min", "k_proj.output_max", "down_proj.input_max",
                        "linear_end.output_min"))
    large = dict(text=dense_text("SSSF", vocab_size=VOCAB, use_bidirectional_attention="vision",
                                 sliding_window=4),
                 vision=dict(VISION, hidden_size=32, num_attention_heads=2, num_key_value_heads=2,
                             head_dim=12, standardize=True, num_hidden_layers=3),
                 images=((12, 9), (3, 3), (6, 6), (9, 6)), videos=(((6, 6), (6, 6)),))
    yield MediaCase("large_like", "31B", "standardize; image tokens that see their block, blocks "
                    "longer than the window", **large)
    yield MediaCase("large_like_bf16", "31B", "the same in bf16", dtype="bf16", **large)
    yield MediaCase("moe_like", "26B-A4B", "experts beside images that see their block",
                    moe_text("SSF", 4, 2, 8, vocab_size=VOCAB,
                             use_bidirectional_attention="vision"),
                    vision=dict(VISION, standardize=True), images=((9, 6), (6, 9)))
    unified = dict(text=unified_text("SSSF", vocab_size=VOCAB, sliding_window=4),
                   vision=UNIFIED_VISION, audio=UNIFIED_AUDIO, unified=True,
                   images=((4, 3), (1, 1), (1, 5), (6, 2)), videos=(((3, 2), (3, 2)),),
                   sounds=(1, 5, 13))
    yield MediaCase("unified_like", "12B", "pixel and sample blocks; masks of the reference's "
                    "create_masks_for_generate, not what its forward() makes", **unified)
    yield MediaCase("unified_like_bf16", "12B", "the same in bf16", dtype="bf16", **unified)
    yield MediaCase("unified_memory_names", "12B", "tensors under the names that transformers has in "
                    "memory; a flat picture, whose LayerNorm shows its eps",
                    unified_text("SF", vocab_size=VOCAB), vision=UNIFIED_VISION,
                    audio=UNIFIED_AUDIO, unified=True, memory_names=True, images=((3, 2), (2, 2)),
                    sounds=(4,), spread=0.004)
    yield MediaCase("e_published_ids", "E2B", "placeholders with the published ids, beyond the "
                    "vocabulary; an image of more patches than pass the MLP together, and than a "
                    "block of keys has", e_text("SF", 0, vocab_size=VOCAB), vision=VISION,
                    audio=AUDIO, images=((24, 18), (6, 3)), sounds=(30,),
                    tokens=dict(TOKENS, image_token_id=258880, audio_token_id=258881,
                                video_token_id=258884))
