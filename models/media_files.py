"""Writes pictures, sounds and clips as files that lose nothing: what culet and transformers read is then the same."""

import struct
import wave

import numpy as np


def write_wav(path, samples, rate=16000):
    """Float samples in [-1, 1) as 16 bit mono."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes())


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def write_avi(path, frames, rate=1):
    """Frames (uint8 [count, height, width, 3], width a multiple of 4) as an AVI file of plain pixels."""
    count, height, width, _ = frames.shape
    size = height * width * 3
    main = struct.pack("<14I", 1000000 // rate, size * rate, 0, 0x10, count, 0, 1, size, width, height, 0, 0, 0, 0)
    stream = b"vidsDIB " + struct.pack("<10I4H", 0, 0, 0, 1, rate, 0, count, size, 0xFFFFFFFF, 0, 0, 0, width, height)
    pixels = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + chunk(b"LIST", b"strl" + chunk(b"strh", stream) +
                                                                  chunk(b"strf", pixels)))
    movie = b"".join(chunk(b"00db", frame[::-1, :, ::-1].tobytes()) for frame in frames)  # from below, blue first
    index = b"".join(b"00db" + struct.pack("<III", 0x10, 4 + i * (size + 8), size) for i in range(count))
    with open(path, "wb") as file:
        file.write(chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", b"movi" + movie) + chunk(b"idx1", index)))
