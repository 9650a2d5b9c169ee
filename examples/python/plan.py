"""What will a model take, before it is loaded? And how many tokens has a prompt?

    python plan.py pebble
"""

# Prints: tokens in the prompt
import sys

import culet

name = sys.argv[1] if len(sys.argv) > 1 else None
for context in (512, 2048):
    plan = culet.memory_plan(name, context=context)
    print(f"context {context}: {plan.resident_bytes / 2**20:.0f} MiB, {plan.kv_bytes / 2**20:.0f} of them KV")

for model in culet.available_models():
    fits = "fits" if model.fits else "does not fit"
    print(f"{model.name}: {model.resident_bytes / 2**30:.1f} GiB, {fits} into the memory that is free")

with culet.Model(name, context=512) as loaded:
    print(loaded.count_tokens("How are you?", system_prompt="Be brief."), "tokens in the prompt")
