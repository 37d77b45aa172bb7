"""Build the wheel, check it, install it into empty environments and use it there: `make wheel`.

It needs PyPI. The versions are those that requirements.txt pins, so that a release elsewhere does not fail it.
"""

import argparse
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PIP = ["-m", "pip", "--disable-pip-version-check", "-qq"]  # errors alone


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["tensorflow", "jax"], help="One of the two environments.")
    only = parser.parse_args().only
    print(f"{time.strftime('%Y-%m-%d')}, {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        wheel = build(folder)
        if only != "jax":
            python = new_environment(folder / "tensorflow")
            run(python, *PIP, "install", "--constraint", ROOT / "requirements.txt", wheel)
            run(python, *PIP, "check")
            use(python, "tensorflow")
        if only != "tensorflow":
            python = new_environment(folder / "jax")
            run(python, *PIP, "install", "--requirement", ROOT / "requirements-jax.txt")
            run(python, *PIP, "install", "--no-deps", wheel)
            use(python, "jax")


def build(folder):
    """The path of the wheel, built from the source distribution and checked by check-wheel-contents."""
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT, capture=True)
    [wheel] = (folder / "dist").glob("*.whl")
    checker = pathlib.Path(sys.executable).with_name("check-wheel-contents")
    run(checker, wheel, cwd=ROOT)  # where pyproject.toml says what is to be in it
    print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB")
    return wheel


def new_environment(folder):
    """The interpreter of an environment with pip alone."""
    venv.create(folder, with_pip=True, upgrade_deps=True)  # the pip that Python 3.10 brings resolves for minutes
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def use(python, backend):
    """Run the script of a backend in an empty folder, where nothing but the installation can be imported."""
    listed = run(python, "-m", "pip", "--disable-pip-version-check", "list", "--format", "freeze", capture=True).split()
    packages = [line.split("==")[0] for line in listed]
    dependencies = [name for name in packages if name not in ("pip", "setuptools", "dirac_keras")]
    print(f"{backend}: {len(dependencies)} packages beside dirac_keras, {size_mib(python.parents[1]):,.0f} MiB")
    script = {"tensorflow": "use_with_tensorflow.py", "jax": "use_on_jax.py"}[backend]
    print_import_time(python, backend)
    work = python.parents[1] / "work"
    work.mkdir()
    start = time.perf_counter()
    print(run(python, "-I", HERE / script, cwd=work, backend=backend, capture=True), end="")
    print(f"{backend}: used in {time.perf_counter() - start:.0f} s", flush=True)
    shutil.rmtree(work)


def print_import_time(python, backend):
    """Seconds of the clock and of the processor, the shortest of three; a first start compiles Python's bytecode."""
    for module in ("dirac_keras", "keras", "dirac_keras.layers"):
        tries = [time_import(python, backend, module) for _ in range(4)]
        clock, processor = min(tries[1:])
        print(f"{backend}: import {module} {clock:.1f} s ({processor:.1f} s of CPU time)", flush=True)


def time_import(python, backend, module):
    start, before = time.perf_counter(), os.times()
    run(python, "-I", "-c", f"import {module}", backend=backend, capture=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, used


def run(*command, cwd=None, backend=None, capture=False):
    """Run a command that must succeed. Returns: its standard output if `capture`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    if backend:
        environment |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.PIPE if capture else None,
    )
    if finished.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{finished.stdout or ''}{finished.stderr or ''}")
    return finished.stdout


def size_mib(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 2**20


def processor():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        return names[0] if names else platform.machine()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
