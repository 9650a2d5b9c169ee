"""A conversation: each turn computes only what is new in it.

    python chat.py                       # a conversation that is given here
    python chat.py "Hello" "Who are you?"
"""

# Prints: What is 40 + 2?
import sys

import culet

turns = sys.argv[1:] or ["Hello!", "What is 2 + 3?", "What is 40 + 2?"]
with culet.Model() as model, model.chat(system_prompt="You are brief.", temperature=0) as chat:
    for turn in turns:
        result = chat.send(turn)
        usage = result.usage
        print(f"> {turn}\n{result}")
        print(f"  {usage.prompt_tokens} tokens, {usage.cached_tokens} of them known already")
