"""Says hello from inside a container, and proves that what pip installed is there."""

import platform
from importlib.metadata import version

import humanize

GREETING = "Hello"

print(f"{GREETING} from Python {platform.python_version()} on {platform.system()} {platform.machine()}.")
print(f"humanize {version('humanize')} says that 10**9 bytes are {humanize.naturalsize(10**9)}.")
