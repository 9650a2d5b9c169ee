"""Makes the goldens of tests/golden/media: how pictures, clips and sounds become numbers.

    python tools/reference/make_media_goldens.py OUT

Large arrays are kept as checksums; what goes in is made from seeds, in the same way here and in
tests/media/patterns.h. What computes is the reference itself: Pillow's resize, torch's (which torchvision
calls for 8-bit pictures on a CPU), transformers' size rule, patches, choice of frames and feature extractor.
Where torchvision is installed, transformers' own image and video processors must give the same.
"""

import enum
import importlib.machinery
import json
import math
import os
import sys
import types

import numpy as np
import torch
from PIL import Image

import golden_file

U64 = np.uint64
BUDGETS = (70, 140, 280, 560, 1120)
FACTOR = 0.00392156862745098


def without_torchvision():
    """transformers wants torchvision to define its processors; their functions do not."""
    try:
        import torchvision  # noqa: F401 pylint: disable=unused-import
        return False
    except Exception:  # pylint: disable=broad-except
        pass
    return True


def random_words(seed, count):
    """SplitMix64, as NextRandom of src/base/hash.h gives it from `seed` on."""
    with np.errstate(over="ignore"):
        z = U64(seed) + (np.arange(count, dtype=U64) + U64(1)) * U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
        return z ^ (z >> U64(31))


def checksum(data):
    """Of bytes: each plus one, times a random word of its place."""
    flat = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
    with np.errstate(over="ignore"):
        return int(((flat.astype(U64) + U64(1)) * random_words(0, flat.size)).sum(dtype=U64))


def picture(pattern, seed, height, width):
    """[height, width, 3] uint8; Picture of tests/media/patterns.h."""
    if pattern == "noise":
        return (random_words(seed, height * width * 3) & U64(255)).astype(np.uint8).reshape(height, width, 3)
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    if pattern == "edges":
        return (((x // 7 + y // 5 + c) % 2) * 255).astype(np.uint8)
    if pattern == "lines":
        return (((x + 2 * y + c) % 3 == 0) * 255).astype(np.uint8)
    if pattern == "slope":
        return ((x * 3 + y * 5 + c * 40) % 256).astype(np.uint8)
    if pattern == "plain":
        return np.full((height, width, 3), (12, 130, 251), np.uint8)
    raise ValueError(pattern)


def by_pillow(image, height, width):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def by_torch(image, height, width):
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous()
    try:
        resized = torch.nn.functional.interpolate(tensor[None], size=(height, width), mode="bicubic",
                                                  align_corners=False, antialias=True)[0]
    except RuntimeError:  # an assertion of torch's own for some pictures one pixel wide or high
        return None
    return resized.permute(1, 2, 0).contiguous().numpy()


# Input height and width, output height and width.
RESIZES = [
    (1, 1, 48, 48), (1, 1, 1, 7), (2, 3, 5, 4), (1, 100, 48, 336), (100, 1, 336, 48), (3, 2000, 48, 480),
    (10, 10000, 48, 3360), (2000, 3, 480, 48), (64, 64, 384, 384), (37, 53, 336, 480), (224, 224, 768, 768),
    (768, 768, 768, 768), (768, 500, 768, 912), (500, 768, 912, 768), (480, 640, 672, 912),
    (480, 640, 336, 432), (481, 641, 480, 624), (720, 1280, 288, 528), (1080, 1920, 576, 1056),
    (1920, 1080, 528, 288), (300, 1200, 192, 768), (333, 777, 332, 776), (333, 777, 334, 778),
    (1000, 1000, 47, 31), (1999, 17, 48, 48), (17, 1999, 48, 48), (900, 901, 1, 1), (1200, 1600, 960, 1296),
    # Around Pillow's choice of the axis that comes first.
    (152, 100, 48, 48), (153, 100, 48, 48), (164, 100, 60, 48), (165, 100, 60, 48), (1200, 300, 768, 192),
    (201, 2, 220, 48), (70, 30, 69, 48), (60, 200, 30, 400),
]
PATTERNS = ("noise", "edges", "lines", "slope")


def resize_cases():
    for index, sizes in enumerate(RESIZES):
        for pattern in PATTERNS if sizes[0] * sizes[1] < 400_000 else PATTERNS[index % 2:index % 2 + 1]:
            image = picture(pattern, index, sizes[0], sizes[1])
            torchs = by_torch(image, *sizes[2:])
            yield {"pattern": pattern, "seed": index, "from": list(sizes[:2]), "to": list(sizes[2:]),
                   "pillow": f"{checksum(by_pillow(image, *sizes[2:])):016x}",
                   "torchvision": "" if torchs is None else f"{checksum(torchs):016x}"}


def swept_sizes():
    """Sizes for the rule alone: all small ones, extreme ones, random ones up to 30000."""
    for height in range(1, 101):
        for width in range(1, 101):
            yield height, width
    words = random_words(7, 190_000) % U64(30000)
    for i in range(0, words.size, 2):
        yield int(words[i]) + 1, int(words[i + 1]) + 1
    for long in (1, 47, 48, 49, 999, 3360, 6720, 13440, 26880, 53760, 100_000, 1_000_000):
        for short in (1, 2, 3, 10, 47, 48, 49, 100):
            yield short, long
            yield long, short


def sizes_golden(rule):
    shown = {}
    for size in ((64, 64), (480, 640), (3000, 4000), (720, 1280), (1080, 1920), (1920, 1080), (300, 1200),
                 (100, 5000), (10, 10000), (1, 1), (1, 30000), (30000, 1), (4032, 3024)):
        shown[f"{size[0]}x{size[1]}"] = [list(rule(*size, 16, 9 * budget, 3)) for budget in BUDGETS]
    sums = {}
    for budget in BUDGETS:
        values = np.array([rule(h, w, 16, 9 * budget, 3) for h, w in swept_sizes()], np.int32)
        sums[str(budget)] = f"{checksum(values):016x}"
    return {"shown": shown, "swept": values.shape[0], "checksums": sums}


# Pattern, size, budget.
PATCHED = [("noise", 40, 60, 70), ("slope", 480, 640, 70), ("edges", 480, 640, 280), ("noise", 300, 1200, 140),
           ("noise", 640, 480, 560), ("lines", 10, 3000, 70), ("slope", 200, 200, 1120), ("plain", 5, 5, 70)]


def patches_golden(rule, convert, merge):
    for index, (pattern, height, width, budget) in enumerate(PATCHED):
        image = picture(pattern, index, height, width)
        size = rule(height, width, 16, 9 * budget, 3)
        case = {"pattern": pattern, "seed": index, "from": [height, width], "budget": budget,
                "grid": [size[0] // 16, size[1] // 16]}
        for name, resize in (("pillow", by_pillow), ("torchvision", by_torch)):
            resized = torch.from_numpy(resize(image, *size).copy()).permute(2, 0, 1).contiguous()
            scaled = resized * FACTOR  # TorchvisionBackend.rescale
            # and its fused normalisation, which video processors use
            divided = resized.to(torch.float32).sub_(torch.zeros(3, 1, 1)).div_(
                (torch.ones(3) * (1.0 / FACTOR)).view(3, 1, 1))
            patches = convert(scaled, 16)
            y, x = np.divmod(np.arange(patches.shape[0]), size[1] // 16)
            positions = torch.from_numpy(np.stack([x, y], -1))
            blocks, places = merge(patches[None], positions[None], patches.shape[0] // 9)
            by, bx = np.divmod(np.arange(blocks.shape[1]), size[1] // 48)
            assert np.array_equal(places[0].numpy(), np.stack([bx, by], -1))
            case[name] = {"patches": f"{checksum(patches.numpy()):016x}",
                          "divided": f"{checksum(convert(divided, 16).numpy()):016x}",
                          "blocks": f"{checksum(blocks[0].numpy()):016x}"}
        yield case


def processors_agree(cases):
    """transformers' processors as a whole, where torchvision lets them be."""
    from transformers.models.gemma4.image_processing_gemma4 import Gemma4ImageProcessor
    from transformers.models.gemma4.video_processing_gemma4 import Gemma4VideoProcessor
    from transformers.models.gemma4_unified.image_processing_gemma4_unified import Gemma4UnifiedImageProcessor
    for case in cases:
        image = picture(case["pattern"], case["seed"], *case["from"])
        tokens = case["grid"][0] * case["grid"][1] // 9
        for kind, processor, count in (("patches", Gemma4ImageProcessor, 9 * tokens),
                                       ("blocks", Gemma4UnifiedImageProcessor, tokens)):
            out = processor(max_soft_tokens=case["budget"])(Image.fromarray(image), return_tensors="pt")
            assert int(out["num_soft_tokens_per_image"][0]) == tokens
            assert f"{checksum(out['pixel_values'][0, :count].numpy()):016x}" == case["torchvision"][kind]
        out = Gemma4VideoProcessor(max_soft_tokens=case["budget"])(
            [np.stack([image])], do_sample_frames=False, return_tensors="pt")
        values = out["pixel_values_videos"][0, :9 * tokens]
        assert f"{checksum(values.numpy()):016x}" == case["torchvision"]["divided"]
    return len(cases)


def frames_golden():
    from transformers.video_utils import VideoMetadata, default_sample_indices_fn
    values = []
    for total in range(1, 301):
        for wanted in range(1, min(total, 64) + 1):
            meta = VideoMetadata(total_num_frames=total, fps=24.0)
            values.append(default_sample_indices_fn(meta, num_frames=wanted))
    by_rate = []
    for total in range(1, 400, 7):
        for clip in (10.0, 23.976023976023978, 24.0, 25.0, 29.97002997002997, 30.0, 60.0):
            for rate in (0.1, 0.5, 1.0, 2.0, 7.3):
                meta = VideoMetadata(total_num_frames=total, fps=clip)
                by_rate.append(len(default_sample_indices_fn(meta, fps=rate)))
    stamps = {}
    for frame, fps in ((0, 24.0), (23, 24.0), (24, 24.0), (1439, 24.0), (1440, 24.0), (1798, 29.97), (90000, 25.0),
                       (150000, 25.0), (1000, 0.1)):
        seconds = frame / fps
        stamps[f"{frame} {fps}"] = f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"
    return {"chosen": f"{checksum(np.concatenate(values).astype(np.int32)):016x}",
            "by_rate": f"{checksum(np.array(by_rate, np.int32)):016x}", "stamps": stamps}


def sounds():
    """Name → float32 samples."""
    def noise(seed, count, size=0.5):
        return ((random_words(seed, count) >> U64(48)).astype(np.int64) - 32768).astype(np.float32) * np.float32(
            size / 32768)

    def tone(count, hertz, size):
        return (np.sin(np.arange(count) * (2 * math.pi * hertz / 16000)) * size).astype(np.float32)

    envelope = (np.abs(((np.arange(6000) // 40) % 40) - 20) / np.float32(20)).astype(np.float32)
    clicks = np.zeros(4000, np.float32)
    clicks[::777] = 0.75
    square = np.where((np.arange(3200) // 18) % 2 == 0, 0.5, -0.5).astype(np.float32)
    return {"noise": noise(1, 6400), "quiet noise": noise(2, 2000, 2.0 ** -9), "tone": tone(16000, 440.0, 0.5),
            "high tone": tone(3000, 6100.0, 0.25), "shaped noise": noise(3, 6000) * envelope, "clicks": clicks,
            "square": square, "silence": np.zeros(1000, np.float32), "161": noise(4, 161), "321": noise(5, 321),
            "801": noise(6, 801)}


LONG = {"exactly 30 s": 480_000, "a sample more": 480_001, "37 s": 592_000}


def sound_golden(folder):
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    extractor = Gemma4AudioFeatureExtractor()

    def features(samples):
        out = extractor([samples], return_tensors="np")
        mask = out["input_features_mask"][0]
        return out["input_features"][0][mask], mask

    def tokens(mask):
        for _ in range(2):
            mask = mask[::2][:(len(mask) + 2 - 3) // 2 + 1]
        return int(mask.sum())

    tensors, counts = {}, {}
    for name, samples in sounds().items():
        found, mask = features(samples)
        tensors[f"samples.{name}"] = torch.from_numpy(samples)
        tensors[f"features.{name}"] = torch.from_numpy(found.astype(np.float32))
        counts[name] = [found.shape[0], tokens(mask)]
    for name, length in LONG.items():
        samples = (random_words(9, length) >> U64(48)).astype(np.int64).astype(np.float32) / np.float32(
            65536) - np.float32(0.5)
        found, mask = features(samples)
        tensors[f"first and last.{name}"] = torch.from_numpy(
            np.concatenate([found[:2], found[-2:]]).astype(np.float32))
        counts[name] = [found.shape[0], tokens(mask)]
    lengths = list(range(1, 3000)) + list(range(479_000, 480_700, 13))
    table = []
    for length in lengths:
        padded = -(-min(length, 480_000) // 128) * 128
        frames = (padded + 160 - 321) // 160 + 1
        mask = np.array([160 * i + 160 < min(length, 480_000) for i in range(frames)], bool)
        table.append([int(mask.sum()), tokens(mask)])
    golden_file.save(tensors, os.path.join(folder, "mel.safetensors"),
                     {"made_by": "tools/reference/make_media_goldens.py"})
    return {"counts": counts, "table": f"{checksum(np.array(table, np.int32)):016x}"}


def reference_functions():
    """transformers' own functions; behind a stand-in for torchvision where that is not installed."""
    if without_torchvision():
        modes = enum.Enum("InterpolationMode", "NEAREST NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS")
        for name in ("", ".io", ".transforms", ".transforms.functional", ".transforms.v2",
                     ".transforms.v2.functional"):
            module = types.ModuleType("torchvision" + name)
            module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
            module.__path__ = []
            module.InterpolationMode = modes
            module.pil_to_tensor = None
            module.functional = types.SimpleNamespace(InterpolationMode=modes)
            sys.modules[module.__name__] = module
    models = "transformers.models."
    gemma4 = importlib.import_module(models + "gemma4.image_processing_gemma4")
    unified = importlib.import_module(models + "gemma4_unified.image_processing_gemma4_unified")
    return gemma4.get_aspect_ratio_preserving_size, gemma4.convert_image_to_patches, unified.patches_merge


def make(folder):
    os.makedirs(folder, exist_ok=True)
    whole = not without_torchvision()
    rule, convert, merge = reference_functions()
    patches = list(patches_golden(rule, convert, merge))
    if whole:
        print(f"  transformers' processors as a whole agree on {processors_agree(patches)} pictures")
    golden = {"resize": list(resize_cases()), "sizes": sizes_golden(rule), "patches": patches,
              "frames": frames_golden(), "sound": sound_golden(folder)}
    with open(os.path.join(folder, "media.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    make(sys.argv[1])
