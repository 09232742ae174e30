"""Names that containers get when the user gives them none: an adjective and a person who moved science or art."""

from __future__ import annotations

from boxwright.errors import Invalid
from boxwright.spec.text import is_name

_ADJECTIVES = (
    "able agile airy amber ample apt balmy bold brave bright brisk calm candid clear clever cosmic crisp "
    "curious dapper daring deft "
    "eager early earnest easy epic fair fleet fond frank free fresh gentle glad golden grand happy hardy "
    "hearty honest hopeful humble "
    "jolly jovial keen kind lively lucid lucky mellow merry mild modest neat nimble noble open patient "
    "placid plucky polite proud quick "
    "quiet ready regal robust rustic serene sharp silver sleek smart snug sober solar steady stoic sunny "
    "sure swift tender tidy tough "
    "trusty upbeat vivid warm wise witty zany zesty"
).split()
_PEOPLE = (
    "abel agnesi ampere anning archimedes aryabhata austen babbage bach banneker bardeen bartik bell "
    "bernoulli bhabha blackwell bohr boole "
    "borg bose brahmagupta carson cartwright cerf chandrasekhar chatelet clarke cori curie dalton darwin "
    "davinci dijkstra dirac easley "
    "einstein elion euclid euler faraday fermat fermi feynman franklin galileo galois gauss germain "
    "goldberg goodall hamilton hawking "
    "heisenberg herschel hertz hodgkin hopper hypatia jackson johnson joliot kalam kepler khayyam kirch "
    "knuth kowalevski lamarr laplace "
    "leavitt leibniz linnaeus lovelace lumiere mayer mccarthy mcclintock meitner mendel mendeleev "
    "mirzakhani moore morse murdock napier "
    "newton nightingale noether pasteur pauling perlman pike planck poincare ptolemy raman ramanujan ride "
    "ritchie roentgen rosalind rubin "
    "sagan salk shannon shaw sinoussi somerville stallman stonebraker swartz tesla tharp thompson "
    "torvalds turing varahamihira volhard "
    "wescoff wiles wozniak wright wu yalow yonath"
).split()


class NameInvalid(Invalid):
    """The text cannot be a container's name."""


def random_name(attempt: int = 0) -> str:
    """``keen_noether``; later attempts carry a number."""
    import os

    first, second, third = os.urandom(3)
    adjective = _ADJECTIVES[(first | (third & 1) << 8) % len(_ADJECTIVES)]
    name = f"{adjective}_{_PEOPLE[(second | (third & 2) << 7) % len(_PEOPLE)]}"
    return name if attempt < 5 else f"{name}{third}{attempt}"


def checked(name: str) -> str:
    """The name without a leading slash. Raises NameInvalid."""
    plain = name.removeprefix("/")
    if not is_name(plain):
        raise NameInvalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return plain
