"""Turns a synthetic text checkpoint into a model that OpenVINO GenAI reads.

    culet synth e2b e2b
    bench/openvino_model.py e2b e2b-ov-int4 --to int4
    bench/compare_peers.py --culet int4=e2b-int4 --openvino int4=e2b-ov-int4

optimum-intel exports Gemma 4 with pictures alone (`image-text-to-text`), so that the text weights are
loaded into a Gemma4ForConditionalGeneration, under its names, beside a vision tower of one small layer
with random weights that no text prompt ever runs. The weights, as optimum-cli would write them (which
makes int8 of a large model when it is asked for neither fp16 nor fp32):

  bf16  as they are in the checkpoint; both embedding tables f32
  int8  symmetric, a scale for each row
  int4  symmetric, a scale for each --group weights of a row; both embedding tables as int8, the head int8
        with a zero point too

E2B takes some minutes, 17 GB of memory and 16 GB of temporary files (beside the folder that it writes).

Run it with a Python that has optimum-intel (2.2), nncf, openvino-tokenizers and the transformers that they
ask for (5.5). Exit codes: 0; 2 for what cannot be turned into a model.
"""

import argparse
import json
import pathlib
import re
import sys
import tempfile

# The least that Gemma4VisionConfig allows; head_dim holds the angles of two axes.
VISION = {"model_type": "gemma4_vision", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
          "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 64, "position_embedding_size": 1024}
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
# How a tensor's name begins in the checkpoint, and in the model with pictures.
NAMES = ("model.", "model.language_model.")


class Failed(Exception):
    """A checkpoint that cannot be exported."""


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(f"{path}: {error}") from None


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def wrapped_config(folder):
    """config.json of the model with pictures."""
    text = read_json(folder / "config.json")
    if text.get("model_type") != "gemma4_text":
        raise Failed(f"{folder}/config.json: model_type is {text.get('model_type')!r}; 'gemma4_text' is what "
                     f"can be exported, as `culet synth` writes it")
    if "quantization_config" in text:
        raise Failed(f"{folder}: the weights are integers already; name the checkpoint that they were "
                     f"made of")
    if "per_layer_config" in text:
        raise Failed(f"{folder}/config.json: has per_layer_config; the transformers that exports knows "
                     f"global_head_dim alone, as in the published checkpoints")
    dtype = text.pop("dtype", "bfloat16")
    return {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "dtype": dtype,
            "tie_word_embeddings": text.get("tie_word_embeddings", True), "audio_config": None,
            "text_config": {key: value for key, value in text.items() if key != "architectures"},
            "vision_config": VISION}


def wrap(folder, target):
    """Writes the checkpoint into `target` as one with pictures, but for the tensors' names."""
    import torch
    from safetensors import safe_open
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    config = wrapped_config(folder)
    special = {token["content"] for token in read_json(folder / "tokenizer.json")["added_tokens"]}
    with torch.device("meta"):
        wanted = Gemma4ForConditionalGeneration(Gemma4Config(**config)).state_dict()
    found = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found.update(tensors.keys())
    # What is missing would become random, and be another model.
    missing = {name.replace(*NAMES[::-1]) for name in wanted if name.startswith(NAMES[1])} - found
    if missing:
        raise Failed(f"{folder}: config.json asks for {len(missing)} tensors that are not there, "
                     f"such as {min(missing)}")
    write_json(target / "config.json", config)
    write_json(target / "tokenizer_config.json",
               {"tokenizer_class": "PreTrainedTokenizerFast",
                **{key: token for key, token in SPECIAL.items() if token in special}})
    for pattern in ("*.safetensors", "*.safetensors.index.json", "tokenizer.json", "generation_config.json"):
        for file in folder.glob(pattern):
            (target / file.name).symlink_to(file.resolve())


def export(checkpoint, out, to, group):
    from optimum.exporters.openvino import main_export
    from optimum.intel import OVConfig, OVModelForVisualCausalLM, OVQuantizer, OVWeightQuantizationConfig

    renaming = {f"^{re.escape(NAMES[0])}": NAMES[1]}
    main_export(checkpoint, out, task="image-text-to-text", convert_tokenizer=True,
                ov_config=OVConfig(dtype="bf16"), model_loading_kwargs={"key_mapping": renaming})
    if to == "bf16":
        return
    weights = OVWeightQuantizationConfig(bits=8, sym=True) if to == "int8" else OVWeightQuantizationConfig(
        bits=4, sym=True, group_size=group, ratio=1.0)
    # Part by part and in place, or the whole model would be in memory twice.
    OVQuantizer(OVModelForVisualCausalLM.from_pretrained(out, compile=False)).quantize(
        ov_config=OVConfig(quantization_config=weights), save_directory=out, immediate_save=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="what `culet synth` wrote")
    parser.add_argument("out", type=pathlib.Path, help="a folder that is not there yet")
    parser.add_argument("--to", choices=["bf16", "int8", "int4"], required=True)
    parser.add_argument("--group", type=int, default=64, help="weights to a scale, of int4 (%(default)s)")
    options = parser.parse_args()
    try:
        if options.out.exists():
            raise Failed(f"{options.out} is there already")
        if not options.out.absolute().parent.is_dir():
            raise Failed(f"{options.out}: there is no folder {options.out.absolute().parent}")
        # Beside it, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix=".openvino_model-",
                                         dir=options.out.absolute().parent) as temporary:
            checkpoint, model = (pathlib.Path(temporary) / name for name in ("checkpoint", "model"))
            checkpoint.mkdir()
            wrap(options.folder, checkpoint)
            export(checkpoint, model, options.to, options.group)
            model.rename(options.out)
    except Failed as failure:
        print(f"openvino_model: {failure}", file=sys.stderr)
        return 2
    except Exception as error:  # torch and OpenVINO may raise anything
        print(f"openvino_model: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
