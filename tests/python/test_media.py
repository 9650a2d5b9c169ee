"""If this fails, a picture that Python gives the model is another one than a file's, or goes unused."""

import json
import pathlib
import shutil
import string

import numpy
import pytest
from PIL import Image

import culet

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "media" / "data"
GOLDEN = ROOT / "tests" / "golden" / "media"
MEDIA_TOKENS = {60: "<|image>", 61: "<image|>", 62: "<|audio>", 63: "<audio|>", 64: "<|image|>",
                65: "<|audio|>", 66: "<|video|>"}
OTHERS = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 50: "<|tool_response>",
          51: "<|turn>", 52: "<turn|>", 53: "<|channel>", 54: "<channel|>", 55: "<|think|>",
          56: '<|"|>', 57: "<|tool>", 58: "<tool|>", 59: "<|tool_call>", 67: "<tool_call|>",
          68: "<tool_response|>"}


VOCAB = 400


def widened(source, target):
    """The weights with VOCAB rows in every table of tokens: a tokenizer needs more than 72."""
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    body, out = data[8 + length :], b""
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        content = body[begin:end]
        if tensor["shape"] and tensor["shape"][0] == 72:
            row = len(content) // 72
            content = (content * (VOCAB // 72 + 1))[: VOCAB * row]
            tensor["shape"][0] = VOCAB
        tensor["data_offsets"] = [len(out), len(out) + len(content)]
        out += content
    text = json.dumps(header).encode()
    target.write_bytes(len(text).to_bytes(8, "little") + text + out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model that sees, with a tokenizer of its size and a published template."""
    path = tmp_path_factory.mktemp("sees")
    case = GOLDEN / "e_published_patches_bf16"
    widened(case / "model.safetensors", path / "model.safetensors")
    config = json.loads((case / "config.json").read_text())
    config["text_config"] |= {"vocab_size": VOCAB, "vocab_size_per_layer_input": VOCAB}
    (path / "config.json").write_text(json.dumps(config))
    control = MEDIA_TOKENS | OTHERS
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    names += [letter for letter in "▁\n" + string.ascii_letters + string.digits + ".,?!<>|"]
    left = iter(names + [f"word{number}" for number in range(VOCAB)])
    vocabulary = {control.get(token) or next(left): token for token in range(VOCAB)}
    base = json.loads((ROOT / "models" / "pebble" / "tokenizer.json").read_text())
    base["added_tokens"] = [
        {"id": token, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for token, text in sorted(control.items())
    ]
    base["model"] |= {"vocab": vocabulary, "merges": []}
    (path / "tokenizer.json").write_text(json.dumps(base))
    shutil.copy(ROOT / "models" / "pebble" / "chat_template.jinja", path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    with culet.Model(folder, context=2048) as loaded:
        yield loaded


OPTIONS = dict(temperature=0, max_tokens=3, media_config=culet.MediaConfig(image_tokens=70))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Square ones: the tiny model has positions for no more."""
    path = tmp_path_factory.mktemp("pictures")
    picture = Image.open(DATA / "picture.png").convert("RGB").crop((0, 0, 30, 30))
    for ending in ("png", "bmp", "jpg"):
        picture.save(path / f"picture.{ending}")
    return path


@pytest.fixture
def pixels(pictures):
    return numpy.asarray(Image.open(pictures / "picture.png"))


def test_a_path_bytes_and_an_array_are_one_picture(model, pictures):
    path = pictures / "picture.bmp"
    array = numpy.asarray(Image.open(path).convert("RGB"))
    results = [
        model.generate("e", images=picture, **OPTIONS)
        for picture in (path, str(path), path.read_bytes(), array, Image.open(path), [array])
    ]
    assert len({tuple(result.tokens) for result in results}) == 1
    assert len({result.logits_hash for result in results}) == 1
    other = model.generate("e", images=array[::-1], **OPTIONS)
    assert other.logits_hash != results[0].logits_hash


def test_a_picture_is_counted(model, pictures):
    without = model.count_tokens("e")
    with_one = model.count_tokens(
        "e", images=pictures / "picture.png", media_config=culet.MediaConfig(image_tokens=70)
    )
    assert with_one == without + 64 + 2


def test_a_chat_keeps_its_pictures(model, pictures, pixels):
    chat = model.chat()
    first = chat.send("e", images=pixels, **OPTIONS)
    second = chat.send("t", temperature=0, max_tokens=3)
    assert second.usage.cached_tokens >= first.usage.prompt_tokens
    third = chat.send("n", images=pictures / "picture.jpg", **OPTIONS)
    assert third.usage.prompt_tokens > second.usage.prompt_tokens + 60
    assert chat.undo()
    again = chat.send("n", images=pictures / "picture.jpg", **OPTIONS)
    assert again.tokens == third.tokens


def test_markers_say_where(model, pixels):
    before = model.generate("e", images=pixels, **OPTIONS)
    behind = model.generate("e<image>", images=pixels, **OPTIONS)
    assert before.usage.prompt_tokens == behind.usage.prompt_tokens
    assert before.logits_hash != behind.logits_hash
    with pytest.raises(culet.InvalidArgumentError, match="2 markers <image> for 1"):
        model.generate("<image><image>", images=pixels, **OPTIONS)


def test_messages_may_name_files(model, pictures):
    content = [{"type": "image", "path": str(pictures / "picture.png")}, {"type": "text", "text": "e"}]
    named = model.generate([{"role": "user", "content": content}], **OPTIONS)
    given = model.generate("e", images=pictures / "picture.png", **OPTIONS)
    assert named.logits_hash == given.logits_hash


def test_what_cannot_be_used_is_refused(model, pixels):
    with pytest.raises(culet.UnsupportedError, match="takes no sound"):
        model.generate("e", audio=numpy.zeros(16000, numpy.float32), **OPTIONS)
    with pytest.raises(TypeError, match="images"):
        model.generate("e", images=3, **OPTIONS)
    with pytest.raises(culet.InvalidArgumentError, match=r"uint8 \[height, width, 3\]"):
        model.generate("e", images=numpy.zeros((4, 4)), **OPTIONS)
    with pytest.raises(culet.NotFoundError, match="nope.png"):
        model.generate("e", images="nope.png")
    with pytest.raises(culet.InvalidArgumentError, match="image_tokens"):
        model.generate("e", images=pixels, media_config=culet.MediaConfig(image_tokens=71))


def test_the_same_for_asyncio(model, pixels):
    import asyncio

    async def ask():
        async with culet.AsyncModel(model) as other:
            one = await other.generate("e", images=pixels, **OPTIONS)
            chat = other.chat()
            two = await chat.send("e", images=pixels, **OPTIONS)
            return one, two

    one, two = asyncio.run(ask())
    assert one.logits_hash == two.logits_hash


def test_more_tokens_than_a_step_are_room_at_load(folder, pixels):
    """The model is a causal one, which needs none: only that the option arrives is seen here."""
    with culet.Model(folder, context=2048, image_tokens=1120) as roomy:
        assert roomy.config.image_tokens == 1120
    with pytest.raises(culet.InvalidArgumentError, match="image_tokens"):
        culet.ModelConfig(image_tokens=0)


def test_ctrl_c_and_close_end_an_encoding(folder):
    """Ten frames a second of the same picture differ by noise, so that none is known."""
    import threading

    from culet import _culet

    noise = numpy.random.default_rng(1).integers(0, 255, (40, 30, 30, 3), dtype=numpy.uint8)
    with culet.Model(folder, context=8192) as own:
        prompt = own._engine.prompt(
            "e",
            system_prompt=None,
            tools=None,
            thinking=False,
            raw=True,
            media=culet._media.take({"images": list(noise), "media_config": OPTIONS["media_config"]}),
        )
        stop = _culet.StopFlag()
        stop.stop()
        request = own._engine.start("generate", prompt, culet.GenerationConfig(), stop=stop)
        assert request.wait().finish_reason == "cancelled"
        # The handler raises in the main thread while it encodes, or later while it answers.
        threading.Timer(0.02, lambda: __import__("signal").raise_signal(2)).start()
        with pytest.raises(KeyboardInterrupt):
            while True:
                own.generate("e", images=list(noise), **(OPTIONS | {"max_tokens": 200}))
        assert own.generate("e", temperature=0, max_tokens=1).tokens
