"""The command line: the same jobs as Blender runs, for scripts and render farms."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from .. import __version__, errors
from ..errors import EngineError
from ..source import source_from_path

EXIT_HELP = f"""exit status:
  {errors.EXIT_OK}    done
  {errors.EXIT_BUG}    a fault of the program; log.txt in the job folder says more
  {errors.EXIT_USAGE}    the command or the request is wrong
  {errors.EXIT_INPUT}    footage or job missing or unreadable
  {errors.EXIT_UNSOLVED}    footage read, but no camera can be had from it
  {errors.EXIT_MACHINE}    disk, memory or a missing package
  {errors.EXIT_CANCELLED}  stopped by Ctrl-C; what was computed is kept, and the same command goes on from there
"""

MODELS_HELP = """environment:
  HF_HOME            where files of the Hugging Face hub lie; all programs share them
  HF_TOKEN           the token for models that ask for one
  HF_HUB_OFFLINE=1   download nothing
  BLENDER_3R_COMMERCIAL_ONLY=1   refuse models that allow no commercial use
  BLENDER_3R_ZOO     where files from elsewhere and your own records (records/*.toml) lie
  http_proxy, https_proxy, no_proxy
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status is one of errors.EXIT_*, as --help lists them."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that lacks a letter of a file name is no reason to fail
    options = _parser().parse_args(arguments)
    try:
        return options.action(options)
    except EngineError as error:
        if options.debug:
            traceback.print_exc()
        _print_error(error, as_json=getattr(options, "json", False))
        return error.exit_code
    except KeyboardInterrupt:
        return errors.EXIT_CANCELLED
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains when it flushes at its end
        return errors.EXIT_OK
    except Exception as error:
        if options.debug:
            raise
        print(f"The engine failed unexpectedly ({type(error).__name__}: {error}). See --debug.", file=sys.stderr)
        return errors.EXIT_BUG


# -- commands


def _reconstruct(options: argparse.Namespace) -> int:
    from .console import run_on_console
    from .reconstruct_options import chosen_settings
    from .settings import make_request

    source = source_from_path(
        options.source,
        kind=options.kind,
        first=options.first,
        last=options.last,
        step=options.step,
        rig_frame=options.rig_frame,
    )
    request = make_request(options.method, source, chosen_settings(options))
    summary = run_on_console(request, Path(options.out), restart=options.restart, debug=options.debug)
    if options.json:
        print(json.dumps({"status": "done", "job": str(Path(options.out).absolute()), **summary}))
    else:
        print(summary["text"])
        for warning in summary["warnings"]:
            print(f"Note: {warning}")
    return errors.EXIT_OK


def _methods(options: argparse.Namespace) -> int:
    import dataclasses

    from ..methods import list_methods

    infos = list_methods()
    if options.json:
        print(json.dumps([dataclasses.asdict(info) for info in infos]))
        return errors.EXIT_OK
    for info in infos:
        use = "commercial use allowed" if info.commercial_use else "no commercial use"
        print(f"{info.id:12} {info.title} ({use})\n             {info.description}")
    return errors.EXIT_OK


def _info(options: argparse.Namespace) -> int:
    from .info import job_info

    facts, lines = job_info(options.job)
    print(json.dumps(facts) if options.json else "\n".join(lines))
    return errors.EXIT_OK


def _models(options: argparse.Namespace) -> int:
    from . import models

    if (options.what == "list") == bool(options.id):
        text = "The list takes no model." if options.id else f"What to {options.what} is not said."
        raise EngineError("usage", text, "See the command models without arguments for the names.")
    if options.what == "list":
        listed = models.list_models()
        print(json.dumps(listed) if options.json else "\n".join(models.table(listed)))
        return errors.EXIT_OK
    report = models.console_report()
    done = []
    for id_ in options.id:
        if options.what == "add":
            licence = {"license": options.licence, "commercial_use": options.commercial_use}
            done.append({**models.add_model({"path": id_, "title": options.title, **licence}), "path": id_})
            continue
        if options.what == "download":
            done.append(models.download_model(id_, report, accept=options.accept_licence, again=options.again))
        else:
            done.append({"remove": models.remove_model, "verify": models.verify_model}[options.what](id_, report))
    print(json.dumps({"status": "done", "models": done}) if options.json else "\n".join(map(models.sentence, done)))
    return errors.EXIT_OK


def _check(options: argparse.Namespace) -> int:
    from .check import self_check

    report = self_check(options.folder, options.profile)
    if options.json:
        print(json.dumps(report))
    else:
        print(
            f"engine {report['version']}, Python {report['python']}, {report['threads']} threads, {report['platform']}"
        )
        for package, version in report["packages"].items():
            print(f"  {package} {version or 'MISSING'}")
        for device in report["devices"]:
            print(f"  device {device['text']}")
        print(f"  methods: {', '.join(report['methods']) or 'none'}")
        for problem in report["problems"]:
            print(f"Problem: {problem}")
        print("All is well." if report["ok"] else "The engine cannot work like this.")
    return errors.EXIT_OK if report["ok"] else errors.EXIT_MACHINE


def _serve(options: argparse.Namespace) -> int:
    from .process import serve, step_aside

    if options.models:
        from .models import use_folder

        use_folder(options.models)
    if options.commercial_only:
        os.environ["BLENDER_3R_COMMERCIAL_ONLY"] = "1"
    if options.step_aside:
        step_aside()
    return serve(options.parent)


# -- the command line's form


def _parser() -> argparse.ArgumentParser:
    from . import export_options, reconstruct_options, surface_options

    parser = argparse.ArgumentParser(
        prog="python blender_3r/engine",
        description="Footage in, tracked camera and points out.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"blender_3r engine {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    reconstruct_options.add_options(
        _add(commands, "reconstruct", _reconstruct, "solve cameras and points from footage")
    )
    methods = _add(commands, "methods", _methods, "list the methods")
    methods.add_argument("--json", action="store_true", help="as JSON")
    info = _add(commands, "info", _info, "tell what a job folder holds")
    info.add_argument("job", metavar="JOB", help="the job folder")
    info.add_argument("--json", action="store_true", help="as JSON")
    export = _add(commands, "export", export_options.run_command, "write a job's result in another form")
    export_options.add_options(export)
    surface = _add(commands, "surface", surface_options.run_command, "fuse a job's depth maps into one surface")
    surface_options.add_options(surface)
    _add_models(commands)
    check = _add(commands, "check", _check, "test the engine's installation")
    check.add_argument("folder", nargs="?", help="where jobs are to be written (default: the temporary folder)")
    check.add_argument("--profile", metavar="NAME", help="classic or full (default: what is installed)")
    check.add_argument("--json", action="store_true", help="as JSON")
    serve = _add(commands, "serve", _serve, "speak JSON lines on standard input and output, for Blender")
    serve.add_argument("--parent", type=int, metavar="PID", help="end when this process is gone")
    serve.add_argument("--models", metavar="FOLDER", help="keep weights there instead of in the hub's own cache")
    serve.add_argument("--commercial-only", action="store_true", help="refuse models that allow no commercial use")
    serve.add_argument(
        "--step-aside", action="store_true", help="run only while nobody else wants the processor (Linux)"
    )
    return parser


def _add(commands: Any, name: str, action: Any, summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.set_defaults(action=action)
    return parser


def _add_models(commands: Any) -> None:
    parser = _add(commands, "models", _models, "list, download, verify, remove or add the weights of networks")
    parser.add_argument("what", nargs="?", default="list", choices=("list", "download", "verify", "remove", "add"))
    parser.add_argument("id", nargs="*", metavar="ID", help="which; the list tells the names (add: checkpoint files)")
    parser.add_argument("--title", metavar="TEXT", help="add: the name in lists (default: that of the file)")
    parser.add_argument("--licence", metavar="TEXT", help="add: the checkpoint's licence (default: not stated)")
    parser.add_argument("--commercial-use", action="store_true", help="add: the licence allows commercial use")
    parser.add_argument("--accept-licence", action="store_true", help="the licence that the list names is accepted")
    parser.add_argument("--again", action="store_true", help="download even what is here and right")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.epilog = f"{MODELS_HELP}\n{EXIT_HELP}"


def _print_error(error: EngineError, as_json: bool) -> None:
    if as_json:
        status = "cancelled" if error.kind == "cancelled" else "failed"
        print(json.dumps({"status": status, "kind": error.kind, "message": error.message, "hint": error.hint}))
    print(str(error), file=sys.stderr)
