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
from ..source import KINDS, source_from_path

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
    from .moving import AUTO, OFF
    from .network_options import chosen_settings
    from .settings import absolute_path, make_request

    source = source_from_path(
        options.source,
        kind=options.kind,
        first=options.first,
        last=options.last,
        step=options.step,
        rig_frame=options.rig_frame,
    )
    settings = {
        "quality": options.quality,
        "lens": options.lens,
        "focal_px": options.focal,
        "dense": False if options.no_dense else None,
        "points": options.points,
        "intrinsics": absolute_path(options.intrinsics),
        "threads": options.threads,
        "mask": options.mask if options.mask == "alpha" else absolute_path(options.mask),
        "mask_invert": True if options.mask_invert else None,
        "moving": options.moving if options.moving in (None, AUTO, OFF) else absolute_path(options.moving),
        "tracks": absolute_path(options.tracks),
        "distortion": options.distortion,
        "center": options.center,
        **chosen_settings(options),
    }
    request = make_request(options.method, source, settings)
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


def _export(options: argparse.Namespace) -> int:
    from ..export import export_job

    written = export_job(
        options.job,
        options.format,
        options.out,
        images=options.images,
        undistorted=options.undistorted,
        min_confidence=options.min_confidence,
        points=options.points,
        voxel=options.voxel,
        mesh=options.mesh,
        edge_angle=options.edge_angle,
        frusta=options.frusta,
        confidence_bits=options.confidence_bits,
        depth_scale=options.depth_scale,
        moving=int(options.moving) if options.moving.lstrip("-").isdigit() else options.moving,
    )
    print(f"Wrote {written}")
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
    from .process import serve

    if options.models:
        from .models import use_folder

        use_folder(options.models)
    if options.commercial_only:
        os.environ["BLENDER_3R_COMMERCIAL_ONLY"] = "1"
    return serve(options.parent)


# -- the command line's form


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python blender_3r/engine",
        description="Footage in, tracked camera and points out.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"blender_3r engine {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_reconstruct(commands)
    methods = _add(commands, "methods", _methods, "list the methods")
    methods.add_argument("--json", action="store_true", help="as JSON")
    info = _add(commands, "info", _info, "tell what a job folder holds")
    info.add_argument("job", metavar="JOB", help="the job folder")
    info.add_argument("--json", action="store_true", help="as JSON")
    _add_export(commands)
    _add_surface(commands)
    _add_models(commands)
    check = _add(commands, "check", _check, "test the engine's installation")
    check.add_argument("folder", nargs="?", help="where jobs are to be written (default: the temporary folder)")
    check.add_argument("--profile", metavar="NAME", help="classic or full (default: what is installed)")
    check.add_argument("--json", action="store_true", help="as JSON")
    serve = _add(commands, "serve", _serve, "speak JSON lines on standard input and output, for Blender")
    serve.add_argument("--parent", type=int, metavar="PID", help="end when this process is gone")
    serve.add_argument("--models", metavar="FOLDER", help="keep weights there instead of in the hub's own cache")
    serve.add_argument("--commercial-only", action="store_true", help="refuse models that allow no commercial use")
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


def _add_reconstruct(commands: Any) -> None:
    from .network_options import add_options

    parser = _add(commands, "reconstruct", _reconstruct, "solve cameras and points from footage")
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="a movie, a folder of images, one image of a numbered sequence, or several files",
    )
    parser.add_argument("--out", required=True, metavar="JOB", help="the job folder; an interrupted job there goes on")
    parser.add_argument(
        "--method",
        default="auto",
        metavar="NAME",
        help="one of the command methods, or auto (the default): by the source, the weights that are here, their "
        "licences and the memory",
    )
    parser.add_argument("--kind", choices=KINDS, help="what the source is, where the names mislead")
    parser.add_argument("--first", type=int, metavar="N", help="first frame (a movie counts from 0)")
    parser.add_argument("--last", type=int, metavar="N", help="last frame, included")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="take every N-th frame")
    parser.add_argument("--rig-frame", type=int, metavar="N", help="the frame taken from every movie of a rig")
    parser.add_argument("--focal", type=float, metavar="PX", help="known focal length in pixels of the image width")
    parser.add_argument("--intrinsics", metavar="FILE", help="known cameras, in the form of cameras.json")
    parser.add_argument(
        "--lens", choices=("auto", "shared", "zoom"), help="one focal, or one per frame (default: auto)"
    )
    parser.add_argument(
        "--mask",
        metavar="PATH",
        help="what is to be left alone, white: a folder of images or one image of a sequence, numbered or named as the "
        "frames are, a movie, or one image for all frames; or the word alpha: what is transparent in the footage "
        "(classic)",
    )
    parser.add_argument(
        "--tracks", metavar="JOB", help="take the tracks of another job of this footage, a network's too (classic)"
    )
    parser.add_argument(
        "--distortion",
        choices=("auto", "none", "k1", "k1k2", "full"),
        help="what is found of it in footage; full: k1 k2 p1 p2 (classic; default: auto, k1 and k2 where the footage "
        "calls for them)",
    )
    parser.add_argument(
        "--center",
        choices=("auto", "fixed", "free"),
        help="the lens's principal point in footage: found where there is no doubt that it is not in the middle "
        "(auto, the default), held in the middle, or always found (classic)",
    )
    parser.add_argument("--mask-invert", action="store_true", help="black is left alone, white is used")
    parser.add_argument(
        "--moving",
        metavar="auto|off|PATH",
        help="footage: what moves by itself, and is there at its own frame only: found in depth and tracks (auto, the "
        "default), not asked about (off), or white in masks as of --mask",
    )
    parser.add_argument("--quality", choices=("draft", "normal", "fine"), help="default: normal")
    parser.add_argument("--no-dense", action="store_true", help="cameras and sparse points only")
    parser.add_argument("--points", type=int, metavar="N", help="how many dense points to aim for")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--restart", action="store_true", help="forget what the job folder holds")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    add_options(parser)


def _add_export(commands: Any) -> None:
    from ..export import FORMATS, ExportOptions

    default = ExportOptions()
    parser = _add(commands, "export", _export, "write a job's result in another form")
    parser.add_argument("job", metavar="JOB", help="the job folder")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="see below")
    parser.add_argument("--out", required=True, metavar="PATH", help="file (ply, glb, chan, jsx) or folder (others)")
    parser.add_argument("--images", action="store_true", help="write the frames too (colmap, transforms)")
    parser.add_argument(
        "--undistorted",
        action="store_true",
        help="write the frames without lens distortion, and cameras that have none (colmap, transforms)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=default.min_confidence,
        metavar="C",
        help="drop dense points whose confidence is below C, 0..1 (ply, glb, depth...; default: keep all)",
    )
    parser.add_argument("--points", type=int, metavar="N", help="at most so many points or vertices of a surface")
    parser.add_argument(
        "--voxel", type=float, metavar="SIZE", help="one point per cube of that edge, in scene units (ply, glb)"
    )
    parser.add_argument(
        "--moving",
        default=default.moving,
        metavar="static|all|only|N",
        help="what of footage that moves by itself is there: nothing (static), everything of all frames (all) and "
        "nothing else (only), or that of frame N (ply, ply-frames, glb; default: static)",
    )
    parser.add_argument("--mesh", action="store_true", help="a surface per dense view instead of points (glb)")
    parser.add_argument(
        "--edge-angle",
        type=float,
        default=default.edge_angle,
        metavar="DEG",
        help="cut the surface where its camera would see it at a flatter angle: at depth edges "
        f"(default: {default.edge_angle:g})",
    )
    parser.add_argument(
        "--frusta",
        type=float,
        default=default.frusta,
        metavar="SHARE",
        help="length of the drawn cameras, as a share of the typical depth; 0: none "
        f"(glb; default: {default.frusta:g})",
    )
    parser.add_argument(
        "--confidence-bits",
        type=int,
        choices=(8, 16, 32),
        default=default.confidence_bits,
        help=f"of confidence images; 32: EXR (depth, depth-png; default: {default.confidence_bits})",
    )
    parser.add_argument(
        "--depth-scale",
        type=float,
        metavar="K",
        help="steps of a 16-bit image per scene unit (depth-png; default: 1000 where the scene is in metres and they "
        "reach, else what makes the best of 16 bits)",
    )
    listed = "\n".join(f"  {name:11} {format_.text}" for name, format_ in sorted(FORMATS.items()))
    parser.epilog = f"formats:\n{listed}\n\n{EXIT_HELP}"


def _add_surface(commands: Any) -> None:
    from .surface_options import add_options, run_command

    add_options(_add(commands, "surface", run_command, "fuse a job's depth maps into one surface"))


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
