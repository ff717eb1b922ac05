"""An image as a folder: the steps of a Dockerfile carried out in a chroot that debootstrap has made. Needs root.

What the machine has for its registries (pip's and npm's settings, certificates, proxies, apt's sources) is lent to the
steps in a folder in memory that goes with each of them, so that nothing of it can stay in the image.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.container.dockerfile import Instruction, Stage, context, environment

DEBIAN = {"12": "bookworm"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How Debian's images for containers differ from a machine: no service is started, no package file is kept.
AS_IN_THE_IMAGE = {
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
    "etc/apt/apt.conf.d/docker-clean": 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n',
}
LENT_VARIABLES = re.compile(
    r"(PIP|NPM_CONFIG)_\w+|(https?|no|all)_proxy|\w*(CA_BUNDLE|CA_CERTS|CERT_FILE|CAINFO)", re.IGNORECASE
)
LENT_FILES = {
    "/etc/pip.conf": ".pip/pip.conf",
    "~/.config/pip/pip.conf": ".config/pip/pip.conf",
    "~/.npmrc": ".npmrc",
}


@dataclass
class Image:
    """A file system and what the Dockerfile says of a container made of it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: Instruction | None = None
    stop_signal: str = "SIGTERM"


@dataclass
class Build:
    """One build, below one folder."""

    context: Path
    folder: Path
    say: Callable[[str], None]
    made: dict[str, Image] = field(default_factory=dict)

    def all(self, stages: list[Stage]) -> Image:
        """The last stage's image."""
        for number, stage in enumerate(stages):
            image = self._begin(stage, self.folder / f"stage-{number}")
            for step in stage.instructions:
                began = time.monotonic()
                self._step(image, step)
                self.say(f"{time.monotonic() - began:6.1f} s  {step.word} {step.rest[:90]}")
            self.made[stage.name] = image
        return image

    def _begin(self, stage: Stage, folder: Path) -> Image:
        if origin := self.made.get(stage.origin):
            subprocess.run(["cp", "-a", "--reflink=auto", origin.folder, folder], check=True)
            return Image(folder, dict(origin.environment), origin.workdir)
        began = time.monotonic()
        release = re.fullmatch(r"debian:(\d+)\.\d+-slim", stage.origin)[1]
        self._debootstrap(DEBIAN[release], folder)
        self.say(f"{time.monotonic() - began:6.1f} s  FROM {stage.origin}, by debootstrap")
        return Image(folder)

    def _debootstrap(self, release: str, folder: Path) -> None:
        log = self.folder / "debootstrap.log"
        with open(log, "wb") as out:
            ran = subprocess.run(
                ["debootstrap", "--variant=minbase", release, folder, *mirror(release)],
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if ran.returncode:
            raise RuntimeError(f"debootstrap failed:\n{log.read_text()[-2000:]}")
        for source in (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources")):
            if source.exists():
                shutil.copy(source, folder / source.relative_to("/"))
        for name, text in AS_IN_THE_IMAGE.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        subprocess.run(["chroot", folder, "apt-get", "clean"], check=True)

    def _step(self, image: Image, step: Instruction) -> None:
        match step.word:
            case "RUN":
                self._run(image, step.rest)
            case "COPY":
                self._copy(image, step)
            case "ENV":
                image.environment |= environment(step)
            case "WORKDIR":
                image.workdir = step.rest
                inside(image, step.rest).mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = step.rest
            case "VOLUME":
                image.volumes.append(step.rest)
            case "STOPSIGNAL":
                image.stop_signal = step.rest
            case "HEALTHCHECK":
                image.healthcheck = step
            case "CMD":
                image.command = json.loads(step.rest)
            case "EXPOSE":
                pass
            case other:
                raise NotImplementedError(other)

    def _run(self, image: Image, command: str) -> None:
        lent, variables = self._lend()
        root = image.folder
        script = f"""set -e
            mount -t proc proc {root}/proc
            mount --rbind /dev {root}/dev
            mount -t tmpfs -o mode=700 tmpfs {root}/root
            cp -a {lent}/. {root}/root/
            mount --bind /etc/resolv.conf {root}/etc/resolv.conf
            mount --bind /etc/hosts {root}/etc/hosts
            exec chroot {root} /usr/bin/env -C {image.workdir} /bin/sh -c {shlex.quote(command)}"""
        for name in ("resolv.conf", "hosts"):
            (root / "etc" / name).touch()
        try:
            ran = subprocess.run(
                [
                    "setpriv",
                    "--pdeathsig=KILL",
                    "unshare",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "/bin/sh",
                    "-c",
                    script,
                ],
                env=image.environment | variables | {"HOME": "/root"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
        finally:
            shutil.rmtree(lent)
        if ran.returncode:
            raise RuntimeError(f"RUN {command}\n{ran.stdout[-4000:]}\nexit status {ran.returncode}")

    def _lend(self) -> tuple[Path, dict[str, str]]:
        """A folder that becomes /root for one step, and the variables that lead there."""
        lent = self.folder / "lent"
        lent.mkdir()
        for name, place in LENT_FILES.items():
            if (source := Path(name).expanduser()).exists():
                (lent / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, lent / place)
        variables = {"PIP_CONFIG_FILE": "/root/.pip/pip.conf"} if (lent / ".pip").exists() else {}
        for name, value in os.environ.items():
            if LENT_VARIABLES.fullmatch(name) and name not in ("PIP_FIND_LINKS", "PIP_CONFIG_FILE"):
                if Path(value).is_file():
                    shutil.copy(value, lent / f"{name}.file")
                    value = f"/root/{name}.file"
                variables[name] = value
        return lent, variables

    def _copy(self, image: Image, step: Instruction) -> None:
        *sources, target = step.rest.split()
        place = inside(image, target)
        if origin := self.made.get(step.flags.get("from", "")):
            [source] = sources
            shutil.copytree(inside(origin, source), place, symlinks=True, dirs_exist_ok=True)
            return
        for source in sources:
            files = [file for file in context(self.context) if file.is_relative_to(source)]
            if not files:
                raise FileNotFoundError(f"COPY {source}: nothing of that name in the context")
            for file in files:
                to = place / (file.name if str(file) == source else file.relative_to(source))
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.context / file, to, follow_symlinks=False)


def inside(image: Image, path: str) -> Path:
    return image.folder / os.path.normpath(Path(image.workdir, path)).lstrip("/")


def mirror(release: str) -> list[str]:
    """Where this machine's own packages come from; debootstrap knows a place by itself."""
    only = ("Identifier: Packages", f"Codename: {release}")
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", *only],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.split()[:1]


def left_of_the_machine(image: Image, environ: Mapping[str, str]) -> list[str]:
    """Files of an image that should not be there: what was lent."""
    names = [f"{name}.file" for name in environ] + [".npmrc", "pip.conf"]
    return [
        str(path) for name in names for path in image.folder.glob(f"{{root,etc}}/**/{name}") if path.is_file()
    ]
