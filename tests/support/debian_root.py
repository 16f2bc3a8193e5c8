"""A fresh Debian or Ubuntu in a folder: made by debootstrap from the machine's own mirror, and entered by chroot.

Each command has mounts and process numbers of its own, so that neither a mount nor a process outlives it.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

PRIVATE = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
ENTER = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$@"'
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES_SECONDS = 300


class NotHere(Exception):
    """Such a Debian can't be made on this machine; the text says why."""


def apt_sources() -> list[tuple[str, str, str, str]]:
    """Where this machine's own system comes from: address, suite, component and options of each list of packages."""
    form = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(ORIGIN)"
    asked = subprocess.run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"], capture_output=True,
                           text=True, check=False)
    found = []
    for line in asked.stdout.splitlines():
        address, suite, component, keys, origin = line.split("|")
        if address.startswith("http") and origin in ("Debian", "Ubuntu", "$(ORIGIN)"):
            found.append((address, suite, component, f"[signed-by={keys}] " if keys.startswith("/usr/share/") else ""))
    return list(dict.fromkeys(found))


class DebianRoot:
    """One such system.

    Args:
        folder: where it goes; it must not lie on a file system without devices.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def make(self) -> None:
        """
        Raises:
            NotHere: root's rights, a tool, a namespace or the mirror is missing.
        """
        if sys.platform != "linux" or os.geteuid() != 0:
            raise NotHere("a Debian in a folder is made by root on Linux")
        for tool in ("debootstrap", "unshare", "apt-get"):
            if shutil.which(tool) is None:
                raise NotHere(f"{tool} is not installed")
        if subprocess.run([*PRIVATE, "true"], capture_output=True, check=False).returncode != 0:
            raise NotHere("this machine refuses namespaces of one's own (unshare)")
        suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        sources = apt_sources()
        mirror = next((address for address, of, *_ in sources if of == suite), "")
        if not mirror:
            raise NotHere(f"apt knows no mirror of {suite or 'this system'}")
        components = ",".join(dict.fromkeys(part for address, of, part, _ in sources if of == suite))
        try:
            made = subprocess.run(
                [*PRIVATE, "debootstrap", "--variant=minbase", f"--components={components}", suite, str(self.folder),
                 mirror], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=PACKAGES_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise NotHere(f"debootstrap took more than {PACKAGES_SECONDS} s") from error
        if made.returncode != 0:
            raise NotHere(f"debootstrap failed: {made.stdout[-300:]}")
        self._set_apt_up(sources)

    def _set_apt_up(self, sources: list[tuple[str, str, str, str]]) -> None:
        """Let its apt reach what this machine's apt reaches."""
        lists = "".join(f"deb {options}{address} {suite} {part}\n" for address, suite, part, options in sources)
        (self.folder / "etc/apt/sources.list").write_text(lists, "utf-8")
        for file in Path("/etc/apt/apt.conf.d").iterdir():
            text = file.read_text("utf-8", "replace")
            if "Acquire" in text and "IndexTargets" not in text:  # the latter: lists that other tools ask for
                shutil.copy(file, self.folder / "etc/apt/apt.conf.d")
        for name in ("etc/resolv.conf", "etc/hosts"):
            if Path("/", name).exists():
                shutil.copy(Path("/", name), self.folder / name)
        if CERTIFICATES.exists():  # a place of their own: inside, a package makes a file of its own of these
            shutil.copy(CERTIFICATES, self.folder / "etc/machine.crt")
            (self.folder / "etc/apt/apt.conf.d/99certificates").write_text(
                'Acquire::https::CAInfo "/etc/machine.crt";\n', "utf-8")
        # Nothing here has to survive a power cut.
        (self.folder / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n", "utf-8")

    def command(self, line: str, user: str = "root", **environment: str) -> list[str]:
        """What runs a line of shell inside, with nothing of this machine's environment but its proxies."""
        home = "/root" if user == "root" else f"/home/{user}"
        kept = {name: os.environ[name] for name in PROXIES if name in os.environ}
        variables = {"PATH": PATH, "HOME": home, "LANG": "C.UTF-8", "USER": user, **kept, **environment}
        inside = ["runuser", "-u", user, "--", "env", "-i", *(f"{k}={v}" for k, v in variables.items()), "sh", "-c",
                  f"cd {shlex.quote(home)} && {line}"]
        return [*PRIVATE, "sh", "-c", ENTER, "enter", str(self.folder), *inside]

    def run(self, line: str, user: str = "root", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell inside to its end; one that takes too long is ended, with status 124."""
        command = self.command(line, user, **environment)
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", timeout=PACKAGES_SECONDS, check=False)
        except subprocess.TimeoutExpired as late:
            said = late.stdout.decode("utf-8", "replace") if isinstance(late.stdout, bytes) else late.stdout or ""
            return subprocess.CompletedProcess(command, 124, said)

    def apt(self, words: str) -> str:
        """Run apt-get inside. Returns what it printed.

        Raises:
            AssertionError: it failed.
        """
        done = self.run(f"apt-get -y --no-install-recommends {words}", DEBIAN_FRONTEND="noninteractive")
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def remove(self) -> None:
        """Delete it. Mounts end with the command that made them; if one were left, nothing is deleted through it."""
        left = [name for name in ("dev", "proc") if os.path.ismount(self.folder / name)]
        assert not left, f"{left} in {self.folder} are still mounted"
        shutil.rmtree(self.folder, ignore_errors=True)

    def python(self) -> str:
        """The version of its python3, as in "3.13"."""
        return self.run("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").stdout.strip()
