"""SDXL's UNet in Latent beside its peers, one evaluation (batch 1), and the table of it.

    python run_sdxl.py --latent PROGRAM [--size 1024] [--runs 3] [--threads 2] [--only torch,openvino]
        [--precision f32|bf16] [--latent-precision P] [--model FILE.xml] [--json FILE] [--docs FILE]

As run.py: every peer runs in a process of its own, and Latent is measured before and after each. No files are needed:
weights are random, in the shapes of sdxl_unet.json. Memory is the limit: with --size 512 the activations are smaller, the
weights are not. A peer that fails is named with the reason.
"""
import argparse
import json
import os
import statistics
import sys
import time

import run as common

ROOT, HERE = common.ROOT, common.HERE
PEERS = ("torch", "openvino")
# Operations of the direct algorithm by size, 2 for each multiply-accumulate
GFLOP = {1024: 2 * 3380.6, 512: 2 * 794.4}
HEADING = "## SDXL beside other engines\n\nWritten by `benches/peers/run_sdxl.py`."


def run(command, args):
    return common.run([str(part) for part in command], args.threads, common.ISAS[args.isa][1])


def measure_latent(args):
    out, memory = run([args.latent, "bench", "--family", "sdxl", "--stage", "unet", "--batch", 1, "--size", args.size,
                       "--runs", args.runs, "--threads", args.threads, "--json", "--precision", args.latent_precision], args)
    bench = json.loads(out)
    figures = {"name": "Latent", "seconds": bench["stages"][0]["seconds"], **memory, "bench": bench,
               "fma_peak_gflops": bench["fma_peak_gflops"]}
    common.note(f"Latent: {common.seconds_text(figures['seconds'])}")
    return figures


def measure_peer(peer, args):
    script = [sys.executable, os.path.join(HERE, "sdxl_peer.py")]
    size = ["--size", args.size]
    model = [args.model] if peer == "openvino" else []
    if model and not all(os.path.exists(os.path.splitext(args.model)[0] + end) for end in (".xml", ".bin")):
        common.note("OpenVINO: converting the model")
        run([*script, "convert", *model, *size], args)
    out, memory = run([*script, peer, *model, *size, "--runs", args.runs, "--threads", args.threads,
                       "--precision", args.precision], args)
    result = json.loads(out.strip().split("\n")[-1])
    figures = {**result, "seconds": statistics.median(result["seconds"]), "runs": result["seconds"], **memory}
    common.note(f"{figures['name']}: {common.seconds_text(figures['seconds'])}")
    return figures


def measure(args):
    result = {"machine": common.machine(), "date": time.strftime("%Y-%m-%d"), "runs": args.runs, "threads": args.threads,
              "isa": args.isa, "precision": args.precision, "size": args.size, "latent": [measure_latent(args)], "peers": []}
    for peer in args.only:
        try:
            figures = measure_peer(peer, args)
        except common.Failed as failed:
            common.note(f"!!! {peer}: NOT MEASURED: {failed}")
            result["peers"].append({"peer": peer, "reason": str(failed)})
            continue
        result["latent"].append(measure_latent(args))
        result["peers"].append({"peer": peer, "after": len(result["latent"]) - 2, **figures})
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return result


def table(result):
    latents, about = result["latent"], result["machine"]
    peaks = [latent["fma_peak_gflops"] for latent in latents]
    gflop = GFLOP[result["size"]]

    def row(figures, beside):
        peak = statistics.mean(latent["fma_peak_gflops"] for latent in beside)
        ratio = figures["seconds"] / statistics.mean(latent["seconds"] for latent in beside)
        return (f"| {figures['name']} | {common.seconds_text(figures['seconds'])} "
                f"| {100 * gflop / figures['seconds'] / peak:.0f} % | {ratio:.2f} "
                f"| {figures['peak_rss_mb'] / 1000:.1f} GB | {figures['peak_anon_mb'] / 1000:.1f} GB |")

    middle = {"name": "Latent", **{key: statistics.median(latent[key] for latent in latents)
                                   for key in ("seconds", "peak_rss_mb", "peak_anon_mb", "fma_peak_gflops")}}
    rows = [row(middle, [middle])]
    rows += [row(peer, latents[peer["after"]:peer["after"] + 2]) for peer in result["peers"] if "seconds" in peer]
    missing = [f"\nNot measured: {peer['peer']} ({peer['reason']}).\n" for peer in result["peers"] if "reason" in peer]
    size = f"{result['size']}x{result['size']}"
    precision = result.get("precision", "f32")
    ours = latents[0]["bench"].get("precision", "f32")
    computed = f"computed in {precision}" if ours == precision else f"Latent in {ours}, the peers in {precision}"
    return "\n".join([
        f"{about['processor']}, {about['cores']} cores, {about['memory_gb']:.0f} GB; {result['threads']} threads, "
        f"{result['date']}. FMA peak, measured in the same run: {common.span(peaks, '.0f')} GFLOP/s. {common.ISAS[result['isa']][0]}.",
        f"UNet of SDXL base, {size}, batch 1, {gflop:.0f} GFLOP of the direct algorithm, random weights, {computed}; the "
        f"median of {result['runs']} runs after one that warms up. *Ratio* is the time beside that of Latent, which ran right "
        "before and right after each peer. Latent computes the text's keys and values once a prompt, and not here: 0.8 % of the "
        "operations.",
        "", "| | one evaluation | of peak | ratio | peak memory | of it anonymous |", "|" + "---|" * 6, *rows, *missing]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent", help="the program `latent`")
    parser.add_argument("--size", type=int, default=1024, choices=GFLOP)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(PEERS), help="peers, with commas between")
    parser.add_argument("--isa", default="native", choices=common.ISAS, help="what every program is kept to")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"), help="what the peers compute in")
    parser.add_argument("--latent-precision", help="what Latent computes in; --precision by default")
    parser.add_argument("--model", help="model of OpenVINO; written if it is not there")
    parser.add_argument("--json", default=os.path.join(ROOT, "target", "peers-sdxl.json"), help="file of all figures")
    parser.add_argument("--docs", default=os.path.join(ROOT, "docs", "performance.md"))
    parser.add_argument("--from-json", help="only write the table of such a file")
    args = parser.parse_args()
    args.latent_precision = args.latent_precision or args.precision
    args.only = args.only.split(",")
    if unknown := [peer for peer in args.only if peer not in PEERS]:
        parser.error(f"no peer {', '.join(unknown)}: {', '.join(PEERS)}")
    args.model = args.model or os.path.join(ROOT, "target", "openvino-models", f"sdxl-unet-{args.size}.xml")
    if args.from_json:
        with open(args.from_json, encoding="utf-8") as file:
            result = json.load(file)
    else:
        if not args.latent or not os.path.exists(args.latent):
            parser.error("--latent: " + (f"there is no {args.latent}" if args.latent else "missing"))
        args.latent = os.path.abspath(args.latent)
        try:
            result = measure(args)
        except common.Failed as failed:
            raise SystemExit(f"Latent: {failed}") from failed
    text = table(result)
    print(text)
    if args.docs:
        precision = result.get("precision", "f32")
        end, heading = ("", HEADING) if precision == "f32" else (f"-{precision}", HEADING.replace("engines", f"engines in {precision}"))
        common.write_docs(args.docs, f"sdxl{end}", heading, text)


if __name__ == "__main__":
    main()
