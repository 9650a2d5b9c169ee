"""An answer as it comes: the model's thinking, and what it says.

    python stream.py "What is 27 + 45?"
"""

# Prints: 72
import sys

import culet

prompt = " ".join(sys.argv[1:]) or "What is 27 + 45?"
with culet.Model() as model:
    last = None
    with model.stream(prompt, thinking=True, temperature=0) as stream:
        for event in stream:
            if event.type in ("thinking", "text"):
                if event.type != last:
                    print(f"\n{event.type}: ", end="")
                print(event.text, end="", flush=True)
                last = event.type
    print("\nended by:", stream.result.finish_reason)
