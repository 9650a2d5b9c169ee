"""The Hub's own client (huggingface_hub), set up so that it touches nothing of the user's."""

import os
import tempfile

_home = tempfile.TemporaryDirectory(prefix="culet-hf-")
for _name in list(os.environ):
    if _name.startswith("HF_") or _name.lower().endswith("_proxy"):
        del os.environ[_name]
os.environ |= {"HF_HOME": _home.name, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
               "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}

import huggingface_hub  # noqa: E402
import huggingface_hub.errors as errors  # noqa: E402
from huggingface_hub import scan_cache_dir, try_to_load_from_cache  # noqa: E402

huggingface_hub.utils.logging.set_verbosity_error()


def download(hub, name, path, cache, **options):
    return huggingface_hub.hf_hub_download(name, path, cache_dir=cache, endpoint=hub.endpoint,
                                           **{"token": False} | options)


def snapshot(hub, name, cache, **options):
    return huggingface_hub.snapshot_download(name, cache_dir=cache, endpoint=hub.endpoint,
                                             **{"token": False} | options)


def api(hub):
    return huggingface_hub.HfApi(endpoint=hub.endpoint, token=False)
