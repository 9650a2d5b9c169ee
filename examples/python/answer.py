"""One question, one answer.

    python answer.py "Why is the sky blue?"

The model is what the variable CULET_MODEL names (a path, or a name of the hub such as e2b), else the demo
model of the package.
"""

# Prints: 72
import sys

import culet

prompt = " ".join(sys.argv[1:]) or "What is 27 + 45?"
with culet.Model() as model:
    result = model.generate(prompt, temperature=0)
    print(result.text)
    print(f"{result.usage.completion_tokens} tokens, {result.timings.decode_tokens_per_s:.0f} a second")
