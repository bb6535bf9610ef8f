"""Latent beside its peers: the same stages on the same machine in the same run, and the tables of it.

    python run.py --checkpoint-folder DIR --checkpoint FILE --latent PROGRAM [--isa avx2,native] [--runs 5] [--threads 2]
        [--only torch,openvino,candle,sdcpp] [--candle PROGRAM] [--candle-avx2 PROGRAM] [--sdcpp-avx2 LIBRARY]
        [--precision f32|bf16|int8] [--latent-precision P] [--openvino-models DIR] [--json FILE] [--docs FILE]
    python run.py --from-json FILE [--docs FILE]

Every stage of every peer runs in a process of its own, so that its memory is its own. Latent is measured before and
after each peer, and a peer is compared with the two measurements beside it. `--isa avx2` keeps everybody to AVX2 on a
CPU that has more: by variables of the environment where the program obeys one, by another build where it does not.
All figures go to the file of --json; the Markdown table of each instruction set is printed and put between its markers
in the file of --docs (none with --docs ''). README.md has the commands that prepare all this. Works on Linux.
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

from common import PRECISIONS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STAGES = ("unet", "vae", "text")
TITLES = {"unet": "one CFG step", "vae": "VAE decode", "text": "text encoder"}
# Operations of the direct algorithm, 2 for each multiply-accumulate: two UNet evaluations, one picture, two prompts
GFLOP = {"unet": 2 * 2 * 401.6, "vae": 2 * 1257.0, "text": 2 * 2 * 6.65}
# What keeps a program to an instruction set, and how the section of its table is called. The first variable is Latent's;
# oneDNN (in OpenVINO and PyTorch) obeys the next two, PyTorch's own loops and MKL the last two.
ISAS = {
    "avx2": ("AVX2", {
        "LATENT_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }),
    "native": ("All that the CPU has", {}),
}
# The modules that a peer needs
MODULES = {
    "torch": ["torch", "diffusers", "transformers"],
    "openvino": ["openvino", "numpy"],
    "sdcpp": ["stable_diffusion_cpp"],
    "candle": [],
}
# The peers that compute in a precision
PRECISION_PEERS = {"f32": list(MODULES), "bf16": ["torch", "openvino"], "int8": ["openvino"]}
# What the table says of the arithmetic
COMPUTED = {
    "f32": "Latent, PyTorch, OpenVINO and candle compute in f32; stable-diffusion.cpp rounds to f16 between, as its f16 "
           "weights make it do, and evaluates the halves of CFG one after the other.",
    "bf16": "PyTorch's weights and activations are bf16, and OpenVINO's hint is bf16, its default on a CPU that has it.",
    "int8": "OpenVINO's weights are 8-bit integers (nncf, a scale for each output channel), and its hint is bf16.",
}
# Latent's names of instruction sets as people write them
ISA_NAMES = {"scalar": "scalar", "avx2": "AVX2", "avx512": "AVX-512", "neon": "NEON"}
# How often the anonymous memory of a process is looked at, in seconds
INTERVAL = 0.05


class Failed(Exception):
    """A measurement that gave no figures, and why."""


def run(command, threads, variables):
    """Runs a command; its output, and the highest of its memory (resident, and the part that belongs to no file) in MB.

    `variables` are added to its environment, where none of those that limit the instruction set is left over.
    """
    limits = {name for _, limits in ISAS.values() for name in limits}
    environment = {name: value for name, value in os.environ.items() if name not in limits}
    environment.update(variables, HF_HUB_OFFLINE="1")
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


def measure_latent(args, isa):
    """What `latent bench` tells: the FMA peak, and the seconds and the memory of each stage."""
    command = [args.latent, "bench", "--json", "--runs", str(args.runs), "--threads", str(args.threads),
               "--precision", args.latent_precision]
    out, memory = run(command, args.threads, ISAS[isa][1])
    bench = json.loads(out)
    stages = {stage["name"]: stage["seconds"] for stage in bench["stages"]}
    if missing := [stage for stage in STAGES if stage not in stages]:
        raise Failed(f"latent bench tells nothing of {', '.join(missing)}")
    memory = {name: bench.get(name) or value for name, value in memory.items()}
    return {"fma_peak_gflops": bench["fma_peak_gflops"], "seconds": stages, **memory, "bench": bench}


def check_peer(peer, args, isa):
    """Raises Failed, with what to do, if a peer is not installed."""
    if missing := [name for name in MODULES[peer] if importlib.util.find_spec(name) is None]:
        raise Failed(f"no Python module {', '.join(missing)}; pip install -r requirements.txt")
    if peer == "candle" and not os.access(candle(args, isa), os.X_OK):
        raise Failed(f"no program {os.path.relpath(candle(args, isa), ROOT)}; benches/peers/README.md has the command")
    if peer == "sdcpp" and lesser_build(isa) and not os.path.exists(args.sdcpp_avx2):
        raise Failed(f"no library {os.path.relpath(args.sdcpp_avx2, ROOT)}; benches/peers/README.md has the command")
    if peer == "openvino" and not converted(args.openvino_models):
        if missing := [name for name in MODULES["torch"] if importlib.util.find_spec(name) is None]:
            raise Failed(f"no Python module {', '.join(missing)} to convert the models with; "
                         "pip install -r requirements.txt")


def lesser_build(isa):
    """Whether an instruction set needs builds of its own, where one for this CPU would use more."""
    return isa == "avx2" and "AVX-512" in machine()["sets"]


def candle(args, isa):
    """The program of candle for an instruction set."""
    return args.candle_avx2 if lesser_build(isa) else args.candle


def converted(models):
    """Whether a folder has the three models for OpenVINO."""
    return all(os.path.exists(os.path.join(models, f"{stage}.{end}")) for stage in STAGES for end in ("xml", "bin"))


def measure_peer(peer, args, isa):
    """The seconds of each stage of a peer (median and all runs) and its memory, the highest of the processes."""
    def python(script, *rest):
        return [sys.executable, os.path.join(HERE, script), *rest]

    how = ["--runs", str(args.runs), "--threads", str(args.threads)]
    precision = ["--precision", args.precision]
    if peer == "torch":
        commands = [python("torch_peer.py", args.checkpoint_folder, stage, *how, *precision) for stage in STAGES]
    elif peer == "openvino":
        commands = [python("openvino_peer.py", args.openvino_models, stage, *how, *precision) for stage in STAGES]
    elif peer == "candle":
        commands = [[candle(args, isa), args.checkpoint_folder, stage, str(args.runs)] for stage in STAGES]
    else:
        commands = [python("sdcpp_peer.py", args.checkpoint, *how)]
    variables = dict(ISAS[isa][1])
    if peer == "sdcpp" and lesser_build(isa):
        variables["STABLE_DIFFUSION_CPP_LIB"] = os.path.abspath(args.sdcpp_avx2)
    name, used, stages, memories = peer, [], {}, []
    for command in commands:
        out, memory = run(command, args.threads, variables)
        result = json.loads(out.strip().split("\n")[-1])
        name = result["name"]
        used += [isa for isa in result["isa"] if isa not in used]
        stages.update(result["stages"])
        memories.append({"stages": list(result["stages"]), "load_seconds": result["load_seconds"], **memory})
    return {
        "name": name,
        "isa": used,
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


def measure(args, isa):
    """Latent, a peer, Latent, a peer, ..., Latent, all on one instruction set; a generator of what is known so far."""
    result = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "runs": args.runs, "threads": args.threads,
              "precision": args.precision, "latent": [], "peers": []}
    note(f"instruction set: {isa}")

    def latent():
        figures = measure_latent(args, isa)
        result["latent"].append(figures)
        note(f"Latent: {line_of(figures)}, FMA peak {figures['fma_peak_gflops']:.0f} GFLOP/s")

    ready = []
    for peer in args.only:
        try:
            check_peer(peer, args, isa)
            if peer == "openvino" and not converted(args.openvino_models):
                note("OpenVINO: converting the models")
                script = os.path.join(HERE, "openvino_convert.py")
                how = ["--int8"] if args.precision == "int8" else []
                run([sys.executable, script, args.checkpoint_folder, args.openvino_models, *how], args.threads, {})
            ready.append(peer)
        except Failed as failed:
            skip(result, peer, failed)
    latent()
    yield result
    for peer in ready:
        try:
            figures = measure_peer(peer, args, isa)
        except Failed as failed:
            skip(result, peer, failed)
            continue
        note(f"{figures['name']}: {line_of(figures)} ({', '.join(figures['isa'])})")
        # The measurements of Latent beside it: this one and the next
        result["peers"].append({"peer": peer, "after": len(result["latent"]) - 1, **figures})
        latent()
        yield result


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

    def row(name, isa, figures, beside):
        """A row of the table: its figures, and the mean of Latent's figures that they are compared with."""
        cells = [name, isa]
        for stage in STAGES:
            seconds = figures["seconds"][stage]
            part = GFLOP[stage] / seconds / beside["fma_peak_gflops"]
            cells += [seconds_text(seconds), f"{part:.0%}".replace("%", " %"), f"{seconds / beside['seconds'][stage]:.2f}"]
        if "peak_rss_mb" in figures:
            cells += [f"{figures['peak_rss_mb'] / 1000:.2f} GB", f"{figures['peak_anon_mb'] / 1000:.2f} GB"]
        return "| " + " | ".join(cells + [""] * (13 - len(cells))) + " |"

    every = average(latents, statistics.median)
    isa = latents[0]["bench"]["isa"]
    rows = [row(f"Latent, {latents[0]['bench'].get('precision', 'f32')}", ISA_NAMES.get(isa, isa), every, every)]
    for peer in result["peers"]:
        if "seconds" in peer:
            beside = average(latents[peer["after"]:peer["after"] + 2], statistics.mean)
            rows.append(row(peer["name"], ", ".join(peer["isa"]), peer, beside))
    limit = {"seconds": {stage: GFLOP[stage] / every["fma_peak_gflops"] for stage in STAGES}}
    rows.append(row("the direct algorithm at the FMA peak", "", limit, every))

    sets = f", {', '.join(about['sets'])}" if about["sets"] else ""
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['memory_gb']:.0f} GB{sets}; {result['threads']} threads, "
        f"{result['date']}. FMA peak of the instruction set, measured in the same run: {span(peaks, '.0f')} GFLOP/s.",
        f"Stable Diffusion 1.5, 512x512, synthetic weights; the median of {result['runs']} runs after one that warms up. "
        "A CFG step is two UNet evaluations, and the text encoder reads two prompts. *Of peak* counts the operations of the "
        "direct algorithm. *Ratio* is the time beside that of Latent, which ran right before and right after each peer. Latent "
        "computes the text's keys and values once a prompt, and not in the step: 0.4 % of its operations.",
        "",
        "| | used | " + " | ".join(f"{TITLES[stage]} | of peak | ratio" for stage in STAGES)
        + " | peak memory | of it anonymous |",
        "|" + "---|" * 13,
        *rows,
        "",
        "Memory is the highest of the stages, each alone in memory; that of stable-diffusion.cpp has all of them. "
        "Anonymous memory belongs to no file. " + COMPUTED[result.get("precision", "f32")]
        + " *Used* is what each program says of itself: Latent and PyTorch the instruction set that they chose, OpenVINO those "
        "of its kernels, candle and stable-diffusion.cpp what they were compiled for.",
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


def write_docs(path, name, heading, text):
    """Puts the text between the markers of that name in a file, or at its end below a heading of its own."""
    with open(path, encoding="utf-8") as file:
        old = file.read()
    first, last = f"<!-- peers:{name}:begin -->", f"<!-- peers:{name}:end -->"
    part = f"{first}\n{text}{last}"
    begin, end = old.find(first), old.find(last)
    if 0 <= begin < end:
        new = old[:begin] + part + old[end + len(last):]
    elif begin < 0 and end < 0:
        new = f"{old.rstrip()}\n\n{heading}\n\n{part}\n"
    else:
        raise SystemExit(f"{path}: one of the markers {first} and {last} is missing, or they are in the wrong order")
    with open(path, "w", encoding="utf-8") as file:
        file.write(new)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint-folder", help="diffusers folder, for all but stable-diffusion.cpp")
    parser.add_argument("--checkpoint", help="the same weights in one file, for stable-diffusion.cpp")
    parser.add_argument("--latent", help="the program `latent`")
    sets = machine()["sets"]
    default = "avx2,native" if "AVX-512" in sets else "avx2" if "AVX2" in sets else "native"
    parser.add_argument("--isa", default=default,
                        help=f"{' and '.join(ISAS)}, one table each, with commas between; here {default} by default")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="peers, with commas between; all that compute in that precision by default")
    parser.add_argument("--precision", default="f32", choices=PRECISIONS,
                        help="what the peers compute in; int8 is of OpenVINO's weights, its sums are in bf16")
    parser.add_argument("--latent-precision", help="what Latent computes in; --precision by default")
    target = os.path.join(HERE, "candle", "target")
    native = os.path.join(os.environ.get("CARGO_TARGET_DIR", target), "release", "latent-peer-candle")
    parser.add_argument("--candle", default=native, help="the program of candle, built for this CPU")
    parser.add_argument("--candle-avx2", default=os.path.join(target, "avx2", "release", "latent-peer-candle"),
                        help="the same, built for AVX2; used where the CPU has more")
    parser.add_argument("--sdcpp-avx2", help="the library of stable-diffusion.cpp built for AVX2; used where the CPU has more",
                        default=os.path.join(ROOT, "target", "sdcpp-avx2", "stable_diffusion_cpp", "lib",
                                             "libstable-diffusion.so"))
    parser.add_argument("--openvino-models", help="folder of the converted models; written if it is not complete")
    parser.add_argument("--json", default=os.path.join(ROOT, "target", "peers.json"), help="file of all figures")
    parser.add_argument("--docs", default=os.path.join(ROOT, "docs", "performance.md"))
    parser.add_argument("--from-json", help="only write the table of such a file")
    args = parser.parse_args()
    args.latent_precision = args.latent_precision or args.precision
    args.only = args.only or ",".join(PRECISION_PEERS[args.precision])
    end = "-int8" if args.precision == "int8" else ""
    args.openvino_models = args.openvino_models or os.path.join(ROOT, "target", f"openvino-models{end}")
    for name, known in (("only", MODULES), ("isa", ISAS)):
        chosen = getattr(args, name).split(",")
        if unknown := [word for word in chosen if word not in known]:
            parser.error(f"--{name}: no {', '.join(unknown)}, but {', '.join(known)}")
        setattr(args, name, chosen)
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


def measure_all(args):
    """The result of each instruction set; the file of all figures is written after each peer."""
    results = {}
    for isa in args.isa:
        for result in measure(args, isa):
            results[isa] = result
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1)
    return results


def main():
    args = parse_args()
    if args.from_json:
        with open(args.from_json, encoding="utf-8") as file:
            results = json.load(file)
    else:
        try:
            results = measure_all(args)
        except Failed as failed:
            raise SystemExit(f"Latent: {failed}") from failed
    for isa, result in results.items():
        text = table(result)
        precision = result.get("precision", "f32")
        name, title = isa, ISAS[isa][0]
        if precision != "f32":
            name, title = f"{isa}-{precision}", f"{title}, the peers in {precision}"
        print(f"{title}\n\n{text}")
        if args.docs:
            write_docs(args.docs, name, f"### {title}\n\nWritten by `benches/peers/run.py`.", text)


if __name__ == "__main__":
    main()
