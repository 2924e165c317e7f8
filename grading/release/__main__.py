"""`python -m grading.release VERB`: the Makefile's verbs for building and handing in."""

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m grading.release", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(run, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(run.__name__.strip("_"), help=text)
        made.set_defaults(run=run)
        return made

    verb(_build, "write cs231n's stubs and notebooks/ from the masters")
    verb(_compare, "fail if they differ from what the masters give")
    verb(_course, "write the nbgrader course folder").add_argument("--out", type=Path)
    verb(_dist, "write the students' archive").add_argument("--out", type=Path)
    submission = verb(_submission, "write a student's archive to hand in")
    submission.add_argument("--student", required=True)
    submission.add_argument("--out", type=Path, help="folder (default: the course folder)")
    verb(_import, "take a solution of another year into cs231n/").add_argument("folder", type=Path)
    return parser


def _build(_) -> int:
    from grading.release.built import build

    changed = build()
    print("\n".join(f"wrote {name}" for name in changed) or "built files are up to date")
    return 0


def _compare(_) -> int:
    from grading.release.built import compare

    differences = compare()
    print("\n".join(differences) or "built files agree with their masters")
    if differences:
        print("\nEdit the master in grading/solutions/, then `make build`.")
    return bool(differences)


def _course(arguments) -> int:
    from grading.release.course import COURSE, build_course

    print(f"wrote {build_course(arguments.out or COURSE)}")
    return 0


def _dist(arguments) -> int:
    from grading.release.dist import ARCHIVE, build_dist

    print(f"wrote {build_dist(arguments.out or ARCHIVE)}")
    return 0


def _submission(arguments) -> int:
    from grading.release.submission import make_submission

    archive = make_submission(arguments.student, out=arguments.out)
    if archive.warnings:
        print("Before you hand in:")
        print("\n".join(f"  - {line}" for line in archive.warnings))
    print(f"\n{archive.path} holds {len(archive.names)} files:")
    print("\n".join(f"  {name}" for name in archive.names))
    return 0


def _import(arguments) -> int:
    from grading.release.importing import import_solution

    print(import_solution(arguments.folder).report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
