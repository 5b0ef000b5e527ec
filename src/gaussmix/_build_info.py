"""What the installation's build did about the compiled kernels, as setup.py wrote it down."""


def read() -> dict:
    """Record of the build: compiler, OpenMP, and for each extension whether it was built.

    Returns
    -------
    dict
        ``python``, ``platform``, ``cython`` : str
            What it was built for and with.
        ``compiler`` : dict
            ``command``, ``version`` and ``reason``, all str; `reason` is why the compiler cannot
            be used, "" if it can.
        ``openmp`` : dict
            ``enabled`` (bool), ``flags`` (list of str), ``reason`` (str).
        ``extensions`` : dict
            By full module name: ``level`` (str), ``built`` (bool), ``flags`` (list of str),
            ``reason`` (str, why it was not built), ``sources`` (str, a digest of the sources).

        Without a record, as in a source tree that was never installed, every text and container
        is empty, and ``compiler["reason"]`` says so.
    """
    # Imported here: nobody but show_config() and a missing backend needs the record.
    import json
    from pathlib import Path

    try:
        return json.loads(Path(__file__).with_name("_build_info.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {
            "python": "",
            "platform": "",
            "cython": "",
            "compiler": {
                "command": "",
                "version": "",
                "reason": "no record of a build: gaussmix was not installed by pip",
            },
            "openmp": {"enabled": False, "flags": [], "reason": ""},
            "extensions": {},
        }
