"""Many prompts at once with asyncio: the model computes them together, and each answer is what it would be
alone.

    python many.py
"""

# Prints: 11 + 30 = 41
import asyncio
import time

import culet


async def main() -> None:
    async with culet.AsyncModel() as model:

        async def add(number: int) -> str:
            result = await model.generate(f"What is {number} + 30?", temperature=0)
            return f"{number} + 30 = {result}"

        start = time.perf_counter()
        for answer in await asyncio.gather(*[add(number) for number in range(10, 30)]):
            print(answer)
        steps = model.statistics.steps
        print(f"20 answers in {time.perf_counter() - start:.2f} s and {steps} passes over the weights")


asyncio.run(main())
