"""What a RUN step lacked that ended with 127, the shells' "not found": the command, and on Debian and Ubuntu its
package."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.rootfs.root import Root

# dash "/bin/sh: 1: pip3: not found", busybox "sh: pip3: not found", bash "line 1: pip3: command not found", zsh
# "command not found: pip3". A name is only taken when it could be one.
_NAME = r"([A-Za-z0-9][A-Za-z0-9._+-]{0,63})"
_SAID = re.compile(rf"(?:: {_NAME}: (?:command )?not found|: command not found: {_NAME})\s*$", re.MULTILINE)
# Where the package has another name than the command, and what people install most.
_PACKAGES = {
    "add-apt-repository": "software-properties-common",
    "aclocal": "automake",
    "ar": "binutils",
    "autoreconf": "autoconf",
    "bundle": "ruby-bundler",
    "c++": "g++",
    "cargo": "cargo",
    "cc": "gcc",
    "convert": "imagemagick",
    "crontab": "cron",
    "curl": "curl",
    "dig": "bind9-dnsutils",
    "docker": "docker.io",
    "envsubst": "gettext-base",
    "file": "file",
    "free": "procps",
    "g++": "g++",
    "gcc": "gcc",
    "gem": "ruby",
    "git": "git",
    "go": "golang-go",
    "gpg": "gnupg",
    "host": "bind9-host",
    "ifconfig": "net-tools",
    "ip": "iproute2",
    "java": "default-jre-headless",
    "javac": "default-jdk-headless",
    "jq": "jq",
    "killall": "psmisc",
    "ld": "binutils",
    "less": "less",
    "libtoolize": "libtool",
    "locale-gen": "locales",
    "lsb_release": "lsb-release",
    "make": "make",
    "mvn": "maven",
    "mysql": "default-mysql-client",
    "nano": "nano",
    "nc": "netcat-openbsd",
    "netstat": "net-tools",
    "node": "nodejs",
    "npm": "npm",
    "npx": "npm",
    "nslookup": "bind9-dnsutils",
    "openssl": "openssl",
    "php": "php-cli",
    "ping": "iputils-ping",
    "pip": "python3-pip",
    "pip3": "python3-pip",
    "pkg-config": "pkg-config",
    "ps": "procps",
    "psql": "postgresql-client",
    "pstree": "psmisc",
    "python": "python-is-python3",
    "python3": "python3",
    "rsync": "rsync",
    "ruby": "ruby",
    "rustc": "rustc",
    "scp": "openssh-client",
    "ss": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sudo": "sudo",
    "top": "procps",
    "unzip": "unzip",
    "update-ca-certificates": "ca-certificates",
    "vi": "vim",
    "vim": "vim",
    "wget": "wget",
    "xz": "xz-utils",
    "zip": "zip",
}
_RELATED = ("debian", "ubuntu")


def command_of(said: str) -> str:
    """The command that a shell said last that it did not find; ''."""
    found = ""
    for match in _SAID.finditer(said):
        found = match[1] or match[2]
    return found


def checked(word: str) -> str:
    """The word if it could be a command's name; ''."""
    return word if re.fullmatch(_NAME, word) else ""


def hint(command: str, root: Root) -> str:
    """What to do about a command that is not in the tree."""
    if not command:
        return "a program was not found in the image"
    package = _PACKAGES.get(command, "") if _has_apt(root) else ""
    if package:
        return f"{command} is in the package {package}: RUN apt-get update && apt-get install -y {package}"
    return f"{command} is not in the image; install it in a step before"


def _has_apt(root: Root) -> bool:
    """Whether the tree is Debian's or that of a relative."""
    text = (root.read("/etc/os-release") or b"").decode("utf-8", "replace")
    words = re.findall(r"^ID(?:_LIKE)?=[\"']?([^\"'\n]*)", text, re.MULTILINE)
    return any(word in _RELATED for line in words for word in line.lower().split())
