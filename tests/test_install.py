"""Install the lock files as ./dev does, offline, beside newer releases of the same packages."""

import hashlib
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
LOCKED: tuple[str, ...] = runpy.run_path(str(HOUSE / "dev"))["LOCKED"]
WHEELS = HOUSE / ".venv" / "wheels"
PIN = re.compile(r"^([\w.-]+)==(\S+)(?: ; .+?)? \\$", re.MULTILINE)
VERSION = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["version"]


def write_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> str:
    """Write a wheel without code into a folder. Return the line that pins the wheel in a lock file."""
    module = name.replace("-", "_").replace(".", "_")
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Provides-Extra: more"]
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        info = f"{module}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", "\n".join([*lines, *(f"Requires-Dist: {text}" for text in requires), ""]))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a program without a package index and without the settings of this machine."""
    environment = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Create an empty environment. Return its Python."""
    completed = run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    assert completed.returncode == 0, completed
    return tmp_path / "venv" / "bin" / "python"


@pytest.fixture(params=["22.3", "23.0.1", "23.2.1"], scope="module")
def pip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pip program of one of the versions that came with Python 3.11.

    The wheel is unpacked, because pip in a zipped wheel is compiled again in each run."""
    wheel = WHEELS / f"pip-{request.param}-py3-none-any.whl"
    if not wheel.exists():
        pytest.skip(f"{wheel.name} is not in .venv/wheels: only ./dev test fetches it")
    folder = tmp_path_factory.mktemp("pip")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("pip/")])
    return folder / "pip"


@pytest.mark.slow
def test_the_run_lock_installs_beside_newer_releases_of_everything(pip: Path, python: Path, tmp_path: Path) -> None:
    """Exactly the packages in the lock file are installed, and the program starts with them."""
    pinned = PIN.findall((HOUSE / "requirements.lock").read_text())
    newer = tmp_path / "newer"
    newer.mkdir()
    for name, _ in pinned:
        write_wheel(newer, name, "9999.0")
    install = (python, pip, "install", "--quiet", "--find-links", WHEELS, "--find-links", newer)

    locked = run(*install, *LOCKED, "--no-compile", "-r", HOUSE / "requirements.lock")
    project = run(*install, "--no-deps", "--no-build-isolation", "-e", HOUSE)
    started = run(python.with_name("contact-score"), "--version")
    checked = run(python, pip, "check")

    assert locked.returncode == project.returncode == 0, (locked.stderr, project.stderr)
    assert started.stdout == f"contact-score {VERSION}\n", started
    assert checked.stdout == "No broken requirements found.\n"
    assert len(pinned) > 40


@pytest.mark.parametrize("pip", ["23.2.1"], indirect=True)
def test_a_requirement_with_an_extra_does_not_stop_an_install(pip: Path, python: Path, tmp_path: Path) -> None:
    """A requirement with an extra would make pip resolve the newest release, for which the lock file has no hash."""
    write_wheel(tmp_path, "example-library", "2.0")
    pins = write_wheel(tmp_path, "example-library", "1.0")
    pins += write_wheel(tmp_path, "example-tool", "1.0", requires=("example-library[more]>=1.0",))
    (tmp_path / "example.lock").write_text(pins)
    install = (python, pip, "install", "--quiet", "--find-links", tmp_path)

    resolving = run(*install, "--require-hashes", "-r", tmp_path / "example.lock")
    locked = run(*install, *LOCKED, "-r", tmp_path / "example.lock")
    listed = run(python, pip, "list", "--format", "freeze")

    assert "must have their versions pinned" in resolving.stderr
    assert locked.returncode == 0, locked.stderr
    assert set(listed.stdout.split()) == {"example-library==1.0", "example-tool==1.0"}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_everything_by_hash_and_names_no_host(name: str) -> None:
    """A lock file pins each package by hash, and any configured index may serve it."""
    text = (HOUSE / name).read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]

    assert "://" not in text
    assert len(entries) == len(PIN.findall(text)) > 40
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_both_locks_pin_the_same_versions() -> None:
    """A package in both lock files has the same version in both."""
    run_pins, test_pins = (
        dict(PIN.findall((HOUSE / name).read_text())) for name in ("requirements.lock", "requirements-dev.lock")
    )

    shared = run_pins.keys() & test_pins.keys()

    assert len(shared) > 5
    assert {name: run_pins[name] for name in shared} == {name: test_pins[name] for name in shared}
