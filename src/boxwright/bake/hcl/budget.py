"""How much evaluating a definition may take: it comes from outside, and short texts can expand without end."""

from __future__ import annotations

from boxwright.bake.errors import DefinitionTooLarge

STEPS = 500_000  # expressions evaluated
AMOUNT = 16 << 20  # characters and elements made and walked
LEVELS = 240  # evaluations inside each other


class Budget:
    """What is left; each method raises TooLarge when it is not enough."""

    def __init__(self) -> None:
        self._steps, self._amount, self.depth = STEPS, AMOUNT, 0

    def step(self) -> None:
        """One expression more."""
        self._steps -= 1
        if self._steps < 0:
            raise DefinitionTooLarge(f"the definition takes more than {STEPS:,} steps to evaluate")

    def make(self, amount: int) -> None:
        """Some characters or elements more; said before they are made."""
        self._amount -= amount
        if self._amount < 0:
            raise DefinitionTooLarge("the definition expands to more than 16 MiB")

    def enter(self) -> None:
        """One level deeper; `depth` is taken back by the caller."""
        self.depth += 1
        if self.depth > LEVELS:
            raise DefinitionTooLarge(f"the definition evaluates more than {LEVELS} levels deep")
