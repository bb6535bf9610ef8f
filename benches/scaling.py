"""How much faster Latent is with two threads than with one: `latent bench` with each in turn, and the ratio of each stage.

    python benches/scaling.py [--latent target/release/latent] [--threads 2] [--rounds 3] [-- ARGUMENTS OF latent bench]

One run of each number of threads follows the other, so that a machine that changes its speed slows both, and the median
of the rounds counts. `--stage vae` after `--` measures one stage, `--size 256` a smaller picture. "fma" is the
machine's own ratio, of multiply-adds in registers: no stage can be expected above it. `--least 1.85` exits with 1 if
a stage is below that.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def measure(args, threads):
    """The seconds of each stage with so many threads, and of 10^12 operations in registers."""
    command = [args.latent, "bench", "--json", "--threads", str(threads), *args.rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()}")
    bench = json.loads(done.stdout)
    return {"fma": 1000 / bench["fma_peak_gflops"], **{stage["name"]: stage["seconds"] for stage in bench["stages"]}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent", default=os.path.join(ROOT, "target", "release", "latent"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=float, default=0.0)
    parser.add_argument("rest", nargs="*", metavar="ARGUMENT", help="of latent bench, after --")
    args = parser.parse_args()
    if args.threads < 1 or args.rounds < 1:
        parser.error("--threads and --rounds are at least 1")

    rounds = []
    for number in range(args.rounds):
        one, many = measure(args, 1), measure(args, args.threads)
        rounds.append((one, many))
        ratios = ", ".join(f"{name} {one[name] / many[name]:.2f}" for name in one)
        print(f"round {number + 1} of {args.rounds}: {ratios}", file=sys.stderr, flush=True)

    print(f"| | 1 thread | {args.threads} threads | ratio | of each round |\n" + "|---" * 5 + "|")
    slow = []
    for name in rounds[0][0]:
        ratios = [one[name] / many[name] for one, many in rounds]
        ratio = statistics.median(ratios)
        cells = [statistics.median(pair[which][name] for pair in rounds) for which in (0, 1)]
        texts = [f"{1000 / cell:.0f} GFLOP/s" if name == "fma" else f"{cell:.3g} s" for cell in cells]
        print(f"| {name} | {' | '.join(texts)} | {ratio:.2f} | {', '.join(f'{r:.2f}' for r in ratios)} |")
        if name != "fma" and ratio < args.least:
            slow.append(name)
    if slow:
        raise SystemExit(f"below {args.least}: {', '.join(slow)}")


if __name__ == "__main__":
    main()
