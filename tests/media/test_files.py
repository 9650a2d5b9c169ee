"""If this fails, a picture, sound or clip is decoded otherwise than Pillow, or the maker of the file, has it.

Pictures are written here with Pillow, in every format and mode, and must come out as Pillow reads them;
sounds are written here, or lie in tests/media/data with clips whose content is known
(tools/make_media_files.sh).
"""

import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DECODE = os.environ["CULET_MEDIA_DECODE"]
DATA = Path(os.environ["CULET_SOURCE"]) / "tests" / "media" / "data"
FOLDER = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
WORK = Path(FOLDER.name)
OUT = WORK / "out"


def tearDownModule():
    FOLDER.cleanup()


def decode(kind, path, *options):
    """What media_decode says, and the bytes that it writes; AssertionError with its message."""
    done = subprocess.run([DECODE, kind, path, OUT, *options], capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise AssertionError(f"{path}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout), OUT.read_bytes()


def drawn():
    y, x = np.mgrid[0:61, 0:83]
    picture = np.stack([(x * 3 + y) % 256, (y * 4) % 256, (x * y // 13) % 256], -1).astype(np.uint8)
    picture[12:30, 20:50] = np.random.default_rng(1).integers(0, 256, (18, 30, 3))
    return picture


PICTURE = drawn()
RGB = Image.fromarray(PICTURE)
ALPHA = (np.add.outer(np.arange(61), np.arange(83)) * 2 % 256).astype(np.uint8)
ALPHA[:8], ALPHA[8:16] = 0, 255
RGBA = Image.fromarray(np.dstack([PICTURE, ALPHA]))


def as_pillow_reads(data):
    """Turned, transparency over white, upper bits of sixteen."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, -1)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def written(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class Pictures(unittest.TestCase):
    def compare(self, data, most=0):
        path = WORK / "picture.whatever"  # the name says nothing
        path.write_bytes(data)
        about, found = decode("image", path)
        expected = as_pillow_reads(data)
        self.assertEqual(about["size"], list(expected.shape[:2]))
        found = np.frombuffer(found, np.uint8).reshape(expected.shape)
        self.assertLessEqual(int(np.abs(found.astype(int) - expected).max()), most)

    def test_jpeg_of_every_subsampling_and_quality(self):
        for quality in (20, 75, 95):
            for subsampling in (0, 1, 2):
                with self.subTest(quality=quality, subsampling=subsampling):
                    self.compare(written(RGB, "jpeg", quality=quality, subsampling=subsampling))

    def test_jpeg_of_other_kinds(self):
        for name, data in {"progressive": written(RGB, "jpeg", progressive=True),
                           "grey": written(RGB.convert("L"), "jpeg"),
                           "cmyk": written(RGB.convert("CMYK"), "jpeg"),
                           "rgb": written(RGB, "jpeg", keep_rgb=True),
                           "one pixel": written(RGB.crop((0, 0, 1, 1)), "jpeg"),
                           "bytes behind its end": written(RGB, "jpeg") + b"rubbish" * 10}.items():
            with self.subTest(name):
                self.compare(data)

    def test_every_mode_in_every_format(self):
        for mode in ("RGB", "L", "1", "P", "RGBA", "LA"):
            image = RGBA.convert(mode) if "A" in mode else RGB.convert(mode)
            for kind in ("png", "tiff", "webp", "gif", "bmp"):
                if (mode, kind) == ("LA", "bmp"):
                    continue
                with self.subTest(mode=mode, kind=kind):
                    self.compare(written(image, kind, **({"lossless": True} if kind == "webp" else {})))

    def test_png_of_other_kinds(self):
        wide = Image.fromarray(np.multiply.outer(np.arange(61), np.arange(83)).astype(np.uint16) * 13)
        palette = RGB.convert("P", palette=Image.Palette.ADAPTIVE)
        for name, data in {"16 bits": written(wide, "png"),
                           "transparent entry": written(RGB.convert("P"), "png", transparency=3),
                           "transparent entries": written(palette, "png", transparency=bytes(range(256))),
                           "transparent colour": written(RGB, "png", transparency=tuple(map(int, PICTURE[20, 30]))),
                           "transparent grey": written(RGB.convert("L"), "png", transparency=100),
                           "1 bit": written(RGB.quantize(2), "png", bits=1),
                           "2 bits": written(RGB.quantize(4), "png", bits=2),
                           "4 bits": written(RGB.quantize(16), "png", bits=4)}.items():
            with self.subTest(name):
                self.compare(data)

    def test_webp_with_loss(self):
        for name, image in {"plain": RGB, "with alpha": RGBA}.items():
            for quality in (30, 90):
                with self.subTest(name, quality=quality):
                    self.compare(written(image, "webp", quality=quality))

    def test_tiff_of_every_compression(self):
        for compression in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"):
            with self.subTest(compression):
                self.compare(written(RGB, "tiff", compression=compression))
        self.compare(written(RGB.convert("1"), "tiff", compression="group4"))
        self.compare(written(RGB, "tiff", compression="tiff_lzw", tiffinfo={317: 2}))
        wide = Image.fromarray(np.multiply.outer(np.arange(61), np.arange(83)).astype(np.uint16) * 13)
        self.compare(written(wide, "tiff"))
        self.compare(written(RGB.convert("CMYK"), "tiff"), most=1)  # libav's own formula of inks

    def test_of_an_animation_the_first_frame(self):
        frames = [Image.fromarray(np.roll(PICTURE, 9 * i, 1)) for i in range(3)]
        for kind in ("gif", "webp", "png"):
            with self.subTest(kind):
                options = {"lossless": True} if kind == "webp" else {}
                self.compare(written(frames[0], kind, save_all=True, append_images=frames[1:], **options))

    def test_every_orientation_in_every_format_that_has_one(self):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[274] = orientation
            for kind in ("jpeg", "png", "webp", "tiff"):
                with self.subTest(orientation=orientation, kind=kind):
                    self.compare(written(RGB, kind, exif=exif,
                                         **({"lossless": True} if kind == "webp" else {})))


def wav(samples, rate, kind):
    """`samples` [n, channels] in −1 … 1; kind: "u8", "s16", "s24", "s32", "f32", "f64"."""
    scaled = {"u8": lambda: (np.round(samples * 127) + 128).astype(np.uint8),
              "s16": lambda: np.round(samples * 32767).astype("<i2"),
              "s24": lambda: np.round(samples * 8388607).astype("<i4"),
              "s32": lambda: np.round(samples * 2147483000).astype("<i4"),
              "f32": lambda: samples.astype("<f4"), "f64": lambda: samples.astype("<f8")}[kind]()
    bits = int(kind[1:])
    data = scaled.tobytes()
    if kind == "s24":
        data = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].tobytes()
    channels = samples.shape[1]
    form = struct.pack("<HHIIHH", 3 if kind[0] == "f" else 1, channels, rate, rate * channels * bits // 8,
                       channels * bits // 8, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


class Sounds(unittest.TestCase):
    def samples(self, data):
        path = WORK / "sound.whatever"
        path.write_bytes(data)
        about, found = decode("sound", path)
        return about, np.frombuffer(found, np.float32)

    def test_sixteen_kilohertz_comes_as_it_is(self):
        tones = np.stack([0.5 * np.sin(np.arange(4000) * 0.17), 0.25 * np.cos(np.arange(4000) * 0.05)], -1)
        steps = {"u8": 2.0 ** -7, "s16": 2.0 ** -15, "s24": 2.0 ** -23, "s32": 2.0 ** -23, "f32": 0, "f64": 2.0 ** -24}
        for kind, step in steps.items():
            with self.subTest(kind):
                about, found = self.samples(wav(tones, 16000, kind))
                self.assertEqual((about["rate"], about["channels"]), (16000, 2))
                self.assertEqual(found.size, 4000)
                expected = tones.astype(np.float32).mean(1) if kind == "f32" else tones.mean(1)
                self.assertLessEqual(np.abs(found - expected).max(), 1.01 * step + 6e-8)

    def test_channels_are_mixed_by_their_mean(self):
        for channels in (1, 3, 6, 8):
            with self.subTest(channels):
                levels = np.arange(1, channels + 1) / 16.0
                _, found = self.samples(wav(np.tile(levels, (500, 1)), 16000, "f32"))
                self.assertEqual(set(found.tolist()), {np.float32(levels.mean())})

    def test_other_rates_keep_tones_below_8_kilohertz_and_drop_those_above(self):
        for rate in (8000, 11025, 22050, 44100, 48000, 96000):
            with self.subTest(rate):
                time = np.arange(rate) / rate
                tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
                if rate > 30000:
                    tone = tone + 0.3 * np.sin(2 * np.pi * 12000 * time)
                _, found = self.samples(wav(tone[:, None], rate, "f64"))
                self.assertEqual(found.size, 16000)
                expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
                self.assertLess(np.abs(found - expected)[800:-800].max(), 2e-4)

    def test_every_container_and_codec(self):
        for path in sorted(DATA.glob("tone.*")):
            with self.subTest(path.name):
                about, found = decode("sound", path)
                found = np.frombuffer(found, np.float32)[1600:14400]
                self.assertAlmostEqual(about["samples"], 16000, delta=800)  # what an encoder adds
                spectrum = np.abs(np.fft.rfft(found * np.hanning(found.size)))
                self.assertAlmostEqual(int(spectrum.argmax()) * 16000 / found.size, 440, delta=1.3)
                self.assertAlmostEqual(float(np.sqrt(2 * np.mean(found ** 2))), 0.3, delta=0.02)


class Clips(unittest.TestCase):
    def frames(self, name, *options):
        about, found = decode("video", DATA / name, *options)
        return about, np.frombuffer(found, np.uint8).reshape(len(about["index"]), *about["size"], 3)

    @staticmethod
    def numbers(frames):
        """What the left half of each frame says: its luma is 16 + 3 · number."""
        return frames[:, 40:-40, 40:120].mean((1, 2, 3)) * 219 / 255 / 3

    def test_the_frames_that_are_asked_for_are_shown(self):
        for name in ("clip.mp4", "clip.webm", "clip.avi"):
            for count in (1, 2, 7, 32, 60, 100):
                with self.subTest(name, count=count):
                    about, frames = self.frames(name, str(count))
                    shown = min(count, 60)
                    self.assertEqual(about["total"], 60)
                    self.assertEqual(about["index"], [i * 60 // shown for i in range(shown)])
                    self.assertEqual(about["times"], [i / 30 for i in about["index"]])
                    self.assertEqual(about["size"], [336, 432])
                    np.testing.assert_allclose(self.numbers(frames), about["index"], atol=0.4)

    def test_by_rate(self):
        about, frames = self.frames("clip.mp4", "4fps")
        self.assertEqual(about["index"], [i * 60 // 8 for i in range(8)])
        np.testing.assert_allclose(self.numbers(frames), about["index"], atol=0.4)

    def test_a_varying_rate_goes_by_time(self):
        about, frames = self.frames("varying.mp4", "7")
        self.assertNotIn("rate", about)
        self.assertEqual(about["total"], 25)
        numbers = np.round(self.numbers(frames)).astype(int).tolist()
        np.testing.assert_allclose(about["times"], np.array(numbers) / 30, atol=1e-6)
        self.assertEqual(numbers, [0, 8, 16, 24, 32, 40, 48])
        about, frames = self.frames("varying.mp4", "all")
        numbers = np.round(self.numbers(frames)).astype(int).tolist()
        self.assertEqual(numbers, [*range(20), 24, 32, 40, 48, 56])

    def test_turned(self):
        about, frames = self.frames("turned.mp4", "3")
        self.assertEqual(about["size"], [432, 336])
        # The file says: a quarter turn against the clock. Its left half lies below then.
        below = frames[:, -120:-40, 40:-40].mean((1, 2, 3)) * 219 / 255 / 3
        np.testing.assert_allclose(below, about["index"], atol=0.4)
        self.assertGreater(frames[:, 40:120].min(), 200)

    def test_its_sound_is_heard(self):
        about, _ = self.frames("clip.mp4", "1")
        self.assertAlmostEqual(about["sound"], 16000, delta=800)
        about, _ = self.frames("clip.webm", "1")
        self.assertNotIn("sound", about)


if __name__ == "__main__":
    sys.exit(unittest.main())
