"""Writes safetensors with its header in a fixed order.

The safetensors package orders metadata by a hash that changes from run to run, and a golden must be
the same bytes every time.
"""

import json

import torch

TYPES = {torch.float32: "F32", torch.int64: "I64"}


def save(tensors, path, metadata):
    header = {"__metadata__": dict(sorted(metadata.items()))}
    blobs, offset = [], 0
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        blob = tensor.numpy().tobytes()
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned to 8 bytes
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))
