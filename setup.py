"""The compiled kernels: what is probed, what is built, and the record of both.

Everything else about the package stands in pyproject.toml. The environment variables read here:

``GAUSSMIX_REQUIRE_EXT=1``
    A kernel that cannot be built, or a compiler without OpenMP, is an error.
``GAUSSMIX_NO_EXT=1``
    Build no kernel at all, on purpose; the package then runs on Numba or NumPy.
``CC``, ``CFLAGS``, ``LDFLAGS``
    As everywhere. This file's own flags come after them.
"""

import contextlib
import glob
import hashlib
import json
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

PACKAGE = "gaussmix"
KERNELS = "src/gaussmix/kernels"
INCLUDE = "src/gaussmix/include"  # the header for C programs, with gaussmix/__init__.pxd
RECORD = "_build_info.json"

# Not -ffast-math: at run time its start-up code switches subnormals off in the whole process, and
# NaN tests vanish. These two only give up errno and trapped floating-point exceptions, both of
# which keep loops with a comparison or a square root from being vectorised.
COMMON_FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math")

# Level -> (flags without which the level does not exist, flags taken where the compiler has them).
LEVELS = {
    "base": ((), ()),
    "avx2": (("-mavx2", "-mfma"), ()),
    "avx512": (
        ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"),
        ("-mprefer-vector-width=512",),
    ),
}

# (compile, link): GCC and Clang; then Apple's Clang with libomp installed beside it.
OPENMP_FLAGS = (
    (("-fopenmp",), ("-fopenmp",)),
    (("-Xpreprocessor", "-fopenmp"), ("-lomp",)),
)

EMPTY_PROGRAM = "int main(void) { return 0; }\n"
X86_64_PROGRAM = "#ifndef __x86_64__\n#error\n#endif\n" + EMPTY_PROGRAM
OPENMP_PROGRAM = """
#include <omp.h>
int main(void)
{
    int total = 0;
    int i;
    #pragma omp parallel for num_threads(2) reduction(+:total)
    for (i = 0; i < 100; i++) total += i + 0 * omp_get_thread_num();
    return total == 4950 ? 0 : 1;
}
"""


def wanted(variable):
    """True if an environment variable is set to something other than "" and "0"."""
    return os.environ.get(variable, "") not in ("", "0")


@contextlib.contextmanager
def captured_output():
    """Collect what this process and its children write; distutils passes a compiler's output on.

    Yields a list that holds the text, as one string, once the block is left, however it is left.
    """
    text = []
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield text
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            sink.seek(0)
            text.append(sink.read().decode(errors="replace"))


def digest(paths):
    """A number for the content of some files."""
    content = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            content.update(file.read() + b"\0")
    return content.hexdigest()[:16]


def first_error(output, fallback):
    """The first line that says what is wrong, or else `fallback`, in at most 300 characters.

    A line with a place ("file:line:column: ...", from Cython and C compilers alike) says more
    than one that only holds the word error.
    """
    lines = [line.strip() for line in output.splitlines() if "warning" not in line.lower()]
    placed = [line for line in lines if re.search(r":\d+:\d+: (?!note)", line)]
    named = [line for line in lines if "error" in line.lower()]
    return (placed + named + [str(fallback)])[0][:300]


class Probe:
    """Questions to a compiler, each answered by compiling, linking and maybe running a program.

    Parameters
    ----------
    compiler : CCompiler
        As `build_ext` configured it, so that CC, CFLAGS and LDFLAGS count here too.
    """

    def __init__(self, compiler):
        self.compiler = compiler
        self.command = list(getattr(compiler, "compiler_so", None) or [compiler.compiler_type])

    def refusal(self, source, compile_flags=(), link_flags=(), run=False):
        """Why the program does not compile (link and run, if asked); "" if it does."""
        with tempfile.TemporaryDirectory(prefix="gaussmix-probe-") as folder:
            path = os.path.join(folder, "probe.c")
            with open(path, "w", encoding="ascii") as file:
                file.write(source)
            output = [""]
            try:
                with captured_output() as output:
                    objects = self.compiler.compile(
                        [path], output_dir=folder, extra_postargs=list(compile_flags)
                    )
                    if run:
                        self.compiler.link_executable(
                            objects, "probe", output_dir=folder, extra_postargs=list(link_flags)
                        )
                if run:
                    program = self.compiler.executable_filename("probe", output_dir=folder)
                    subprocess.run([program], check=True, timeout=60, capture_output=True)
            except (BaseError, CCompilerError, OSError, subprocess.SubprocessError) as error:
                return first_error(output[0], error).replace(folder + os.sep, "")
        return ""

    def version(self):
        """First line of the compiler's ``--version``, or "" if it has none."""
        try:
            result = subprocess.run(
                [*self.command, "--version"], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return (result.stdout.splitlines() or [""])[0].strip()

    def openmp(self):
        """``(compile flags, link flags, why not)``; the last is "" where OpenMP works."""
        refusals = []
        for compile_flags, link_flags in OPENMP_FLAGS:
            reason = self.refusal(OPENMP_PROGRAM, compile_flags, link_flags, run=True)
            if not reason:
                return list(compile_flags), list(link_flags), ""
            refusals.append(reason)
        return [], [], refusals[0]

    def accepted(self, flags):
        """Those of `flags` the compiler takes."""
        return [flag for flag in flags if not self.refusal(EMPTY_PROGRAM, [flag])]


class BuildKernels(build_ext):
    """Builds the kernels that can be built and writes down what happened.

    Nothing here fails an installation unless GAUSSMIX_REQUIRE_EXT asks for it: without any kernel
    the package runs on Numba or NumPy, and ``gaussmix.show_config()`` shows this record.
    """

    def run(self):
        self.roots = [self.build_lib, "src"] if self.inplace else [self.build_lib]
        self.record = {
            "python": sysconfig.get_python_version(),
            "platform": sysconfig.get_platform(),
            "cython": "",
            "compiler": {"command": "", "version": "", "reason": ""},
            "openmp": {"enabled": False, "flags": [], "reason": ""},
            "extensions": {},
        }
        super().run()
        for root in self.roots:
            path = os.path.join(root, PACKAGE, RECORD)
            self.mkpath(os.path.dirname(path))
            with open(path, "w", encoding="utf-8") as file:
                json.dump(self.record, file, indent=1, sort_keys=True)
                file.write("\n")
        print(self.summary(), file=sys.stderr, flush=True)

    def get_outputs(self):
        return [*super().get_outputs(), os.path.join(self.build_lib, PACKAGE, RECORD)]

    def get_output_mapping(self):
        mapping = super().get_output_mapping()
        if self.inplace:
            built = os.path.join(self.build_lib, PACKAGE, RECORD)
            mapping[built] = os.path.join("src", PACKAGE, RECORD)
        return mapping

    def build_extensions(self):
        for extension in self.extensions:
            self.record["extensions"][extension.name] = {
                "level": extension.level,
                "built": False,
                "sources": digest([*extension.sources, *extension.depends]),
                "flags": [],
                "reason": "",
            }
        reason = self.prepare()
        started = {}
        for extension in self.extensions:
            entry = self.record["extensions"][extension.name]
            entry["reason"] = reason or self.choose_flags(extension, entry)
            if not entry["reason"] and not self.is_current(extension, entry):
                self.remove_outputs(extension)
                started[extension.name] = self.start_attempt(extension)
        built = []
        for extension in self.extensions:
            entry = self.record["extensions"][extension.name]
            if extension.name in started:
                entry["reason"] = started[extension.name]()
            entry["built"] = not entry["reason"]
            if entry["built"]:
                built.append(extension)
            else:
                self.remove_outputs(extension)
        # What was not built must be neither copied nor listed among the files to install.
        self.extensions = built
        if wanted("GAUSSMIX_REQUIRE_EXT"):
            self.insist()

    def prepare(self):
        """Probe the compiler once for all kernels; returns why none can be built, or ""."""
        if wanted("GAUSSMIX_NO_EXT"):
            return "not built on purpose: GAUSSMIX_NO_EXT is set"
        probe = self.probe = Probe(self.compiler)
        compiler = self.record["compiler"]
        compiler["command"] = shlex.join(probe.command)
        compiler["version"] = probe.version()
        compiler["reason"] = probe.refusal(EMPTY_PROGRAM, run=True)
        if compiler["reason"]:
            return f"no working C compiler: {compiler['reason']}"
        try:
            import Cython
        except ImportError:
            return "Cython is not installed"
        self.record["cython"] = Cython.__version__
        self.common_flags = probe.accepted(COMMON_FLAGS)
        compile_flags, link_flags, reason = probe.openmp()
        self.openmp_compile, self.openmp_link = compile_flags, link_flags
        self.record["openmp"] = {
            "enabled": not reason,
            "flags": list(dict.fromkeys([*compile_flags, *link_flags])),
            "reason": reason,
        }
        self.target_is_x86_64 = not probe.refusal(X86_64_PROGRAM)
        return ""

    def choose_flags(self, extension, entry):
        """Set an extension's flags; returns why the level cannot be had, or ""."""
        needed, welcome = LEVELS[extension.level]
        if needed and not self.target_is_x86_64:
            entry["not_applicable"] = True
            return "only for x86-64"
        refusal = self.probe.refusal(EMPTY_PROGRAM, needed)
        if refusal:
            return f"the compiler refuses {' '.join(needed)}: {refusal}"
        level_flags = [*needed, *self.probe.accepted(welcome)]
        extension.extra_compile_args = [*self.common_flags, *level_flags, *self.openmp_compile]
        extension.extra_link_args = list(self.openmp_link)
        entry["flags"] = extension.extra_compile_args
        return ""

    def start_attempt(self, extension):
        """Begin to build one extension; returns a function that waits and says why it failed.

        Where processes can fork, each extension has its own, because a compiler runs on one core
        and what it prints is collected for the whole process.
        """
        if "fork" not in multiprocessing.get_all_start_methods():
            reason, output = self.attempt(extension)
            return lambda: self.report(reason, output)
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=lambda: sender.send(self.attempt(extension)))
        process.start()
        sender.close()

        def finish():
            try:
                reason, output = receiver.recv()
            except EOFError:
                reason, output = "", ""
            process.join()
            if process.exitcode:
                reason = f"the process that built it ended with exit code {process.exitcode}"
            return self.report(reason, output)

        return finish

    def report(self, reason, output):
        """Pass on what a build printed; returns `reason`."""
        print(output, file=sys.stderr, end="", flush=True)
        return reason

    def attempt(self, extension):
        """Translate and compile one extension; returns why that failed, or "", and the output."""
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError

        # cythonize copies the headers there, and would prefer an old copy to the source.
        translated_to = os.path.join(self.build_temp, "cython", extension.level)
        shutil.rmtree(translated_to, ignore_errors=True)
        output = [""]
        reason = ""
        try:
            with captured_output() as output:
                [translated] = cythonize(
                    [extension],
                    build_dir=translated_to,
                    include_path=[KERNELS, "src"],
                    language_level="3",
                    force=self.force,
                )
                extension.sources = translated.sources
                self.build_extension(extension)
        except (BaseError, CCompilerError, CompileError, OSError) as error:
            reason = first_error(output[0], error)
        return reason, output[0]

    def is_current(self, extension, entry):
        """Whether an earlier build left this module, from the same sources, compiler and flags.

        Time stamps would not tell: another compiler leaves the sources' alone, and pip brings its
        own fresh Cython, whose files are newer than any build.
        """
        try:
            with open(os.path.join(self.build_lib, PACKAGE, RECORD), encoding="utf-8") as file:
                earlier = json.load(file)
            return (
                not self.force
                and earlier["extensions"][extension.name] == {**entry, "built": True}
                and all(earlier[key] == self.record[key] for key in ("compiler", "cython"))
                and os.path.exists(self.get_ext_fullpath(extension.name))
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def remove_outputs(self, extension):
        """Remove what earlier builds left of an extension, where this build would put it."""
        name = self.get_ext_filename(extension.name)
        for root in self.roots:
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(root, name))

    def insist(self):
        """Raise if anything that belongs on this machine is missing (GAUSSMIX_REQUIRE_EXT)."""
        problems = [
            f"{name}: {entry['reason']}"
            for name, entry in self.record["extensions"].items()
            if not entry["built"] and "not_applicable" not in entry
        ]
        if self.extensions and not self.record["openmp"]["enabled"]:
            problems.append(f"OpenMP: {self.record['openmp']['reason']}")
        if problems:
            raise CCompilerError(
                "GAUSSMIX_REQUIRE_EXT is set and the kernels are not complete.\n  "
                + "\n  ".join(problems)
                + "\nInstall GCC or Clang with OpenMP, or unset GAUSSMIX_REQUIRE_EXT."
            )

    def summary(self):
        """One line for the build log."""
        entries = self.record["extensions"].values()
        levels = [entry["level"] for entry in entries if entry["built"]]
        missing = [
            f"{entry['level']}: {entry['reason']}"
            for entry in entries
            if not entry["built"] and "not_applicable" not in entry
        ]
        if not levels:
            reason = next(entry["reason"] for entry in entries)
            return (
                f"gaussmix: no compiled kernels ({reason}); the package will run on Numba or "
                "NumPy. To compile them, install GCC or Clang and install gaussmix again."
            )
        openmp = self.record["openmp"]
        threads = "OpenMP on" if openmp["enabled"] else f"no OpenMP ({openmp['reason']})"
        line = f"gaussmix: compiled kernels {', '.join(levels)}; {threads}"
        line += f"; {self.record['compiler']['version']}"
        return f"{line}; not built: {', '.join(missing)}" if missing else line


def extensions():
    """One extension per instruction-set level; all are compiled from the same included files."""
    patterns = [f"{KERNELS}/*.{suffix}" for suffix in ("pxi", "pxd", "h")]
    patterns += [f"{INCLUDE}/*.h", f"src/{PACKAGE}/*.pxd"]
    included = sorted(
        path.replace(os.sep, "/") for pattern in patterns for path in glob.glob(pattern)
    )
    found = []
    for level in LEVELS:
        extension = Extension(
            f"{PACKAGE}.kernels._cython_{level}",
            [f"{KERNELS}/_cython_{level}.pyx"],
            # The generated C lies in the build directory, away from the headers it includes.
            include_dirs=[KERNELS, INCLUDE],
            depends=included,
        )
        extension.level = level
        found.append(extension)
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildKernels})
