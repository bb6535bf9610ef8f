"""Latent beside its peers: the same stages on the same machine in the same run, and the table of it.

    python run.py --checkpoint-folder DIR --checkpoint FILE --latent PROGRAM [--runs 5] [--threads 2]
        [--only torch,openvino,candle,sdcpp] [--candle PROGRAM] [--openvino-models DIR] [--json FILE] [--docs FILE]
    python run.py --from-json FILE [--docs FILE]

Every stage of every peer runs in a process of its own, so that its memory is its own. Latent is measured before and
after each peer, and a peer is compared with the two measurements beside it. All figures go to the file of --json; the
Markdown table is printed and put between the markers in the file of --docs (none with --docs ''). README.md has
the commands that prepare all this. Works on Linux.
"""
import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STAGES = ("unet", "vae", "text")
TITLES = {"unet": "one CFG step", "vae": "VAE decode", "text": "text encoder"}
# Operations of the direct algorithm, 2 for each multiply-accumulate: two UNet evaluations, one picture, two prompts
GFLOP = {"unet": 2 * 2 * 401.6, "vae": 2 * 1257.0, "text": 2 * 2 * 6.65}
BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
# The modules that a peer needs
MODULES = {
    "torch": ["torch", "diffusers", "transformers"],
    "openvino": ["openvino", "numpy"],
    "sdcpp": ["stable_diffusion_cpp"],
    "candle": [],
}
# How often the anonymous memory of a process is looked at, in seconds
INTERVAL = 0.05


class Failed(Exception):
    """A measurement that gave no figures, and why."""


def run(command, threads):
    """Runs a command; its output, and the highest of its memory (resident, and the part that belongs to no file) in MB."""
    environment = dict(os.environ, HF_HUB_OFFLINE="1")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        environment[name] = str(threads)
    anonymous = 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        try:
            ended = 0
            while not ended:
                time.sleep(INTERVAL)
                anonymous = max(anonymous, anonymous_kib(child.pid))
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
        except BaseException:
            child.kill()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode:
            lines = err.read().split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            raise Failed(f"exit status {child.returncode}: {last}")
        return out.read(), {"peak_rss_mb": usage.ru_maxrss * 1024 / 1e6, "peak_anon_mb": anonymous * 1024 / 1e6}


def anonymous_kib(pid):
    """The memory of a process that belongs to no file; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("RssAnon:")), 0)
    except OSError:
        return 0


def measure_latent(args):
    """What `latent bench` tells: the FMA peak, and the seconds and the memory of each stage."""
    command = [args.latent, "bench", "--json", "--runs", str(args.runs), "--threads", str(args.threads)]
    out, memory = run(command, args.threads)
    bench = json.loads(out)
    stages = {stage["name"]: stage["seconds"] for stage in bench["stages"]}
    if missing := [stage for stage in STAGES if stage not in stages]:
        raise Failed(f"latent bench tells nothing of {', '.join(missing)}")
    memory = {name: bench.get(name) or value for name, value in memory.items()}
    return {"fma_peak_gflops": bench["fma_peak_gflops"], "seconds": stages, **memory, "bench": bench}


def check_peer(peer, args):
    """Raises Failed, with what to do, if a peer is not installed."""
    if missing := [name for name in MODULES[peer] if importlib.util.find_spec(name) is None]:
        raise Failed(f"no Python module {', '.join(missing)}; pip install -r requirements.txt")
    if peer == "candle" and not os.access(args.candle, os.X_OK):
        raise Failed(f"no program {os.path.relpath(args.candle, ROOT)}; cargo build --release in benches/peers/candle")
    if peer == "openvino" and not converted(args.openvino_models):
        if missing := [name for name in MODULES["torch"] if importlib.util.find_spec(name) is None]:
            raise Failed(f"no Python module {', '.join(missing)} to convert the models with; "
                         "pip install -r requirements.txt")


def converted(models):
    """Whether a folder has the three models for OpenVINO."""
    return all(os.path.exists(os.path.join(models, f"{stage}.{end}")) for stage in STAGES for end in ("xml", "bin"))


def measure_peer(peer, args):
    """The seconds of each stage of a peer (median and all runs) and its memory, the highest of the processes."""
    def python(script, *rest):
        return [sys.executable, os.path.join(HERE, script), *rest]

    how = ["--runs", str(args.runs), "--threads", str(args.threads)]
    if peer == "torch":
        commands = [python("torch_peer.py", args.checkpoint_folder, stage, *how) for stage in STAGES]
    elif peer == "openvino":
        commands = [python("openvino_peer.py", args.openvino_models, stage, *how) for stage in STAGES]
    elif peer == "candle":
        commands = [[args.candle, args.checkpoint_folder, stage, str(args.runs)] for stage in STAGES]
    else:
        commands = [python("sdcpp_peer.py", args.checkpoint, *how)]
    name, stages, memories = peer, {}, []
    for command in commands:
        out, memory = run(command, args.threads)
        result = json.loads(out.strip().split("\n")[-1])
        name = result["name"]
        stages.update(result["stages"])
        memories.append({"stages": list(result["stages"]), "load_seconds": result["load_seconds"], **memory})
    return {
        "name": name,
        "seconds": {stage: statistics.median(runs) for stage, runs in stages.items()},
        "runs": stages,
        "peak_rss_mb": max(memory["peak_rss_mb"] for memory in memories),
        "peak_anon_mb": max(memory["peak_anon_mb"] for memory in memories),
        "processes": memories,
    }


def machine():
    """The processor and what of it counts here."""
    model, flags = platform.machine(), ""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            if name.strip() in ("flags", "Features"):
                flags = value.split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    sets = [name for name, flag in (("AVX2", "avx2"), ("FMA", "fma"), ("AVX-512", "avx512f")) if flag in flags]
    return {"processor": model, "cores": os.cpu_count(), "sets": sets, "memory_gb": memory}


def note(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def measure(args):
    """Latent, a peer, Latent, a peer, ..., Latent."""
    result = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "runs": args.runs, "threads": args.threads,
              "latent": [], "peers": []}

    def save():
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)

    def latent():
        figures = measure_latent(args)
        result["latent"].append(figures)
        note(f"Latent: {line_of(figures)}, FMA peak {figures['fma_peak_gflops']:.0f} GFLOP/s")
        save()

    ready = []
    for peer in args.only:
        try:
            check_peer(peer, args)
            if peer == "openvino" and not converted(args.openvino_models):
                note("OpenVINO: converting the models")
                script = os.path.join(HERE, "openvino_convert.py")
                run([sys.executable, script, args.checkpoint_folder, args.openvino_models], args.threads)
            ready.append(peer)
        except Failed as failed:
            skip(result, peer, failed)
    latent()
    for peer in ready:
        try:
            figures = measure_peer(peer, args)
            note(f"{figures['name']}: {line_of(figures)}")
            # The measurements of Latent beside it: this one and the next
            result["peers"].append({"peer": peer, "after": len(result["latent"]) - 1, **figures})
        except Failed as failed:
            skip(result, peer, failed)
            continue
        latent()
    save()
    return result


def skip(result, peer, failed):
    note(f"!!! {peer}: NOT MEASURED: {failed}")
    result["peers"].append({"peer": peer, "reason": str(failed)})


def line_of(figures):
    return ", ".join(f"{TITLES[stage]} {seconds_text(figures['seconds'][stage])}" for stage in STAGES)


def seconds_text(seconds):
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def table(result):
    """The Markdown of a result."""
    latents, about = result["latent"], result["machine"]
    peaks = [latent["fma_peak_gflops"] for latent in latents]

    def row(name, of):
        """A row of the table; `of` gives its figures and the mean of Latent's figures that they are compared with."""
        figures, beside = of
        cells = [name]
        for stage in STAGES:
            seconds = figures["seconds"][stage]
            part = GFLOP[stage] / seconds / beside["fma_peak_gflops"]
            cells += [seconds_text(seconds), f"{part:.0%}".replace("%", " %"), f"{seconds / beside['seconds'][stage]:.2f}"]
        if "peak_rss_mb" in figures:
            cells += [f"{figures['peak_rss_mb'] / 1000:.2f} GB", f"{figures['peak_anon_mb'] / 1000:.2f} GB"]
        return "| " + " | ".join(cells + [""] * (12 - len(cells))) + " |"

    every = average(latents, statistics.median)
    rows = [row("Latent", (every, every))]
    for peer in result["peers"]:
        if "seconds" in peer:
            beside = average(latents[peer["after"]:peer["after"] + 2], statistics.mean)
            rows.append(row(peer["name"], (peer, beside)))
    limit = {"seconds": {stage: GFLOP[stage] / every["fma_peak_gflops"] for stage in STAGES}}
    rows.append(row("the direct algorithm at the FMA peak", (limit, every)))

    sets = f", {', '.join(about['sets'])}" if about["sets"] else ""
    isa = latents[0].get("bench", {}).get("isa")
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['memory_gb']:.0f} GB{sets}; {result['threads']} threads, "
        f"{result['date']}. FMA peak, measured in the same run: {span(peaks, '.0f')} GFLOP/s"
        + (f" (Latent used {isa})." if isa else "."),
        f"Stable Diffusion 1.5, 512x512, synthetic weights; the median of {result['runs']} runs after one that warms up. "
        "A CFG step is two UNet evaluations, and the text encoder reads two prompts. *Of peak* counts the operations of the "
        "direct algorithm. *Ratio* is the time beside that of Latent, which ran right before and right after each peer.",
        "",
        "| | " + " | ".join(f"{TITLES[stage]} | of peak | ratio" for stage in STAGES) + " | peak memory | of it anonymous |",
        "|" + "---|" * 12,
        *rows,
        "",
        "Memory is the highest of the stages, each alone in memory; that of stable-diffusion.cpp has all of them. "
        "Anonymous memory belongs to no file. Latent, PyTorch, OpenVINO and candle compute in f32; stable-diffusion.cpp rounds "
        "to f16 between, as its f16 weights make it do, and evaluates the halves of CFG one after the other.",
    ]
    for peer in result["peers"]:
        if "reason" in peer:
            lines += ["", f"Not measured: {peer['peer']} ({peer['reason']})."]
    lines += ["", "Latent each time, in this order:", "", "| | FMA peak | " + " | ".join(TITLES[s] for s in STAGES) + " |",
              "|" + "---|" * 5]
    for i, latent in enumerate(latents):
        cells = [str(i + 1), f"{latent['fma_peak_gflops']:.0f} GFLOP/s"]
        cells += [seconds_text(latent["seconds"][stage]) for stage in STAGES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def average(latents, how):
    """One set of figures of several measurements of Latent."""
    figures = {name: how([latent[name] for latent in latents])
               for name in ("fma_peak_gflops", "peak_rss_mb", "peak_anon_mb")}
    figures["seconds"] = {stage: how([latent["seconds"][stage] for latent in latents]) for stage in STAGES}
    return figures


def span(values, form):
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def write_docs(path, text):
    """Puts the text between the markers of a file, or at its end in a section of its own."""
    with open(path, encoding="utf-8") as file:
        old = file.read()
    part = f"{BEGIN}\n{text}{END}"
    begin, end = old.find(BEGIN), old.find(END)
    if 0 <= begin < end:
        new = old[:begin] + part + old[end + len(END):]
    elif begin < 0 and end < 0:
        new = f"{old.rstrip()}\n\n## Beside other engines\n\nWritten by `benches/peers/run.py`.\n\n{part}\n"
    else:
        raise SystemExit(f"{path}: one of the markers {BEGIN} and {END} is missing, or they are in the wrong order")
    with open(path, "w", encoding="utf-8") as file:
        file.write(new)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint-folder", help="diffusers folder, for all but stable-diffusion.cpp")
    parser.add_argument("--checkpoint", help="the same weights in one file, for stable-diffusion.cpp")
    parser.add_argument("--latent", help="the program `latent`")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(MODULES), help="peers, with commas between")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "candle", "target"))
    parser.add_argument("--candle", default=os.path.join(target, "release", "latent-peer-candle"),
                        help="the program of candle, where Cargo puts it by default")
    parser.add_argument("--openvino-models", default=os.path.join(ROOT, "target", "openvino-models"),
                        help="folder of the converted models; written if it is not complete")
    parser.add_argument("--json", default=os.path.join(ROOT, "target", "peers.json"), help="file of all figures")
    parser.add_argument("--docs", default=os.path.join(ROOT, "docs", "performance.md"))
    parser.add_argument("--from-json", help="only write the table of such a file")
    args = parser.parse_args()
    args.only = args.only.split(",")
    if unknown := [peer for peer in args.only if peer not in MODULES]:
        parser.error(f"no peer {', '.join(unknown)}: {', '.join(MODULES)}")
    if args.runs < 1 or args.threads < 1:
        parser.error("--runs and --threads are at least 1")
    if not args.from_json:
        for name in ("checkpoint_folder", "checkpoint", "latent"):
            path = getattr(args, name)
            if not path or not os.path.exists(path):
                parser.error(f"--{name.replace('_', '-')}: " + (f"there is no {path}" if path else "missing"))
        os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
        args.latent = os.path.abspath(args.latent)
    return args


def main():
    args = parse_args()
    if args.from_json:
        with open(args.from_json, encoding="utf-8") as file:
            result = json.load(file)
    else:
        try:
            result = measure(args)
        except Failed as failed:
            raise SystemExit(f"Latent: {failed}") from failed
    text = table(result)
    print(text)
    if args.docs:
        write_docs(args.docs, text)


if __name__ == "__main__":
    main()
