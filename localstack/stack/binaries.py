"""The programs, built for this machine, and the zip that a Lambda is deployed from."""

import hashlib
import io
import os
import pathlib
import platform
import subprocess
import zipfile
from dataclasses import dataclass

from .settings import REPOSITORY, Refused, Settings

PROCESS_MANAGER, COORDINATOR, AGENT = "windlass-process-manager", "windlass-coordinator", "windlass-agent"


@dataclass(frozen=True)
class Binaries:
    folder: pathlib.Path

    def path(self, program: str) -> pathlib.Path:
        return self.folder / program

    def digest(self, program: str) -> str:
        return hashlib.sha256(self.path(program).read_bytes()).hexdigest()

    def zip(self, program: str) -> bytes:
        """The same bytes for the same program. Not compressed: that takes ten seconds and more, and they travel nowhere."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
            entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, self.path(program).read_bytes())
        return made.getvalue()


def provide(settings: Settings) -> Binaries:
    """Builds them, unless they were told to be somewhere."""
    binaries = Binaries(settings.binaries) if settings.binaries else build(settings.profile)
    missing = [program for program in (PROCESS_MANAGER, COORDINATOR, AGENT) if not os.access(binaries.path(program), os.X_OK)]
    if missing:
        raise Refused(f"{binaries.folder} has no {' and no '.join(missing)}")
    return binaries


def build(profile: str) -> Binaries:
    packages = [f"--package={program}" for program in (PROCESS_MANAGER, COORDINATOR, AGENT)]
    if subprocess.run(["cargo", "build", "--locked", f"--profile={profile}", *packages], cwd=REPOSITORY, check=False).returncode:
        raise Refused("the build failed")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return Binaries(REPOSITORY / target / ("debug" if profile == "dev" else profile))


def architecture() -> str:
    """As the template's parameter has it."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"
