"""Texts as vectors: which of some texts is the nearest to another?

    python embed.py "27 + 45"

Gemma 4 was not trained to embed, and the demo model least of all: see it as a way to call it.
"""

# Prints: the nearest is
import sys

import culet

query = " ".join(sys.argv[1:]) or "What is 12 + 30?"
texts = ["What is 27 + 45?", "Tom has a red cup.", "Monday comes before Tuesday."]
with culet.Model() as model:
    vectors = model.embed([query, *texts], normalize=True)
    likeness = vectors[1:] @ vectors[0]
    for text, value in zip(texts, likeness):
        print(f"{value:6.3f}  {text}")
    print("the nearest is:", texts[int(likeness.argmax())])
