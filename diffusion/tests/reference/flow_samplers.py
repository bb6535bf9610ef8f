"""Goldens of samplers for flow matching models: x = (1 - sigma) x0 + sigma n.

    python3 flow_samplers.py

writes goldens/schedulers/flow.safetensors and its cases in goldens/index.json. Cases that begin with `diffusers/` are runs of its
scheduler classes (0.42.1; torch); those that begin with `comfy/` follow the formulas of ComfyUI's `k_diffusion/sampling.py`, written
anew in f64 with numpy. The network is an analytic stand-in, the ideal velocity for data that are normally distributed around `mu`
with a ripple:

    total = (1 - sigma)^2 / 4 + sigma^2,  d = x - (1 - sigma) mu
    v     = (sigma / total - (1 - sigma) / (4 total)) d - mu + 0.05 sin(2 x)

`sigmas` are the levels, `asked` those of the evaluations, `noise` the normals in the order in which they are drawn, `trajectory` the
latents after each step; the run begins with x0 sigmas[0]. Where the last level of a class is not 0 its last step is left out.
"""
import json, math, os, struct
import numpy as np
import golden_index

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = "schedulers/flow.safetensors"
SHAPE = (1, 4, 8, 8)
STEPS = 8


def velocity(x, sigma, mu):
    total = (1 - sigma) ** 2 / 4 + sigma ** 2
    d = x - (1 - sigma) * mu
    return (sigma / total - (1 - sigma) / (4 * total)) * d - mu + 0.05 * np.sin(2 * x)


class Run:
    """A sampler's surroundings: the model, the noise, and what is recorded."""

    def __init__(self, x, mu, mu_negative, seed):
        self.x, self.mu, self.mu_negative = x, mu, mu_negative
        self.random = np.random.default_rng(seed)
        self.noise, self.asked, self.after = [], [], []

    def model(self, x, sigma):
        self.asked.append(sigma)
        return x - sigma * velocity(x, sigma, self.mu)

    def guided(self, x, sigma, scale=1.5):
        positive = self.model(x, sigma)
        negative = x - sigma * velocity(x, sigma, self.mu_negative)
        return negative + scale * (positive - negative), negative

    def normal(self):
        # As f32, which is what the goldens hold.
        self.noise.append(self.random.standard_normal(SHAPE).astype(np.float32).astype(np.float64))
        return self.noise[-1]

    def step(self, x):
        self.x = x
        self.after.append(x)


# ComfyUI's formulas.

def snr(sigma):
    """Half of the log of signal to noise."""
    return math.log((1 - sigma) / sigma)


def from_snr(value):
    return 1 / (1 + math.exp(value))


def offset(s, shift):
    """The first level where it is pure noise, for formulas in signal and noise."""
    return [shift * 0.9999 / (1 + (shift - 1) * 0.9999)] + s[1:] if s[0] >= 1 else s


def down_of(a, b, eta):
    down = b * (1 + (b / a - 1) * eta)
    keep = (1 - b) / (1 - down)
    return down, keep, math.sqrt(max(b * b - (down * keep) ** 2, 0))


def ancestral(a, b, eta):
    up = min(b, eta * math.sqrt(b * b * (a * a - b * b) / (a * a)))
    return math.sqrt(b * b - up * up), up


def euler_a(run, s, shift, eta):
    for a, b in zip(s[:-1], s[1:]):
        denoised = run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        down, keep, up = down_of(a, b, eta)
        x = down / a * run.x + (1 - down / a) * denoised
        run.step(keep * x + run.normal() * up if eta > 0 else x)


def dpm2_a(run, s, shift, eta):
    for a, b in zip(s[:-1], s[1:]):
        x, denoised = run.x, run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        down, keep, up = down_of(a, b, eta)
        d, middle = (x - denoised) / a, math.sqrt(a * down)
        there = x + d * (middle - a)
        d = (there - run.model(there, middle)) / middle
        run.step(keep * (x + d * (down - a)) + run.normal() * up)


def dpmpp_2s_a(run, s, shift, eta):
    for a, b in zip(s[:-1], s[1:]):
        x, denoised = run.x, run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        down, keep, up = down_of(a, b, eta)
        middle = 0.9999 if a == 1 else from_snr((snr(a) + snr(down)) / 2)
        second = run.model(middle / a * x + (1 - middle / a) * denoised, middle)
        run.step(keep * (down / a * x + (1 - down / a) * second) + run.normal() * up)


def dpm2(run, s, shift, eta):
    for a, b in zip(s[:-1], s[1:]):
        x, denoised = run.x, run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        middle = math.sqrt(a * b)
        there = x + (x - denoised) / a * (middle - a)
        run.step(x + (there - run.model(there, middle)) / middle * (b - a))


def lms(run, s, shift, eta):
    """As k-diffusion has it: the last step is as the others (ComfyUI takes the estimate)."""
    slopes = []
    for i, (a, b) in enumerate(zip(s[:-1], s[1:])):
        denoised = run.model(run.x, a)
        slopes = [(run.x - denoised) / a] + slopes[:3]
        nodes = [s[i - k] for k in range(len(slopes))]
        x = run.x
        for j, slope in enumerate(slopes):
            basis = np.poly1d([1.0])
            for k, node in enumerate(nodes):
                if k != j:
                    basis = basis * np.poly1d([1.0, -node]) / (nodes[j] - node)
            integral = basis.integ()
            x = x + (integral(b) - integral(a)) * slope
        run.step(x)


def ipndm(run, s, shift, eta):
    slopes = []
    for a, b in zip(s[:-1], s[1:]):
        denoised = run.model(run.x, a)
        slopes = [(run.x - denoised) / a] + slopes[:3]
        w = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]][len(slopes) - 1]
        run.step(denoised if b == 0 else run.x + (b - a) * sum(c * d for c, d in zip(w, slopes)))


def res_multistep(run, s, shift, eta):
    old, before = None, None
    for a, b in zip(s[:-1], s[1:]):
        denoised = run.model(run.x, a)
        if b == 0 or old is None:
            run.step(run.x + (run.x - denoised) / a * (b - a))
        else:
            h, c2 = math.log(a / b), -math.log(before / a) / math.log(a / b)
            phi1 = math.expm1(-h) / -h
            phi2 = (phi1 - 1) / -h
            run.step(math.exp(-h) * run.x + h * ((phi1 - phi2 / c2) * denoised + phi2 / c2 * old))
        old, before = denoised, a


def dpmpp_sde(run, s, shift, eta):
    s = offset(s, shift)
    for a, b in zip(s[:-1], s[1:]):
        x, denoised = run.x, run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        middle = from_snr((snr(a) + snr(b)) / 2)
        down, up = ancestral(math.exp(-snr(a)), math.exp(-snr(middle)), eta)
        h = -math.log(down) - snr(a)
        there = (1 - middle) / (1 - a) * math.exp(-h) * x - (1 - middle) * math.expm1(-h) * denoised
        second = run.model(there + (1 - middle) * run.normal() * up, middle)
        down, up = ancestral(math.exp(-snr(a)), math.exp(-snr(b)), eta)
        h = -math.log(down) - snr(a)
        x = (1 - b) / (1 - a) * math.exp(-h) * x - (1 - b) * math.expm1(-h) * second
        run.step(x + (1 - b) * run.normal() * up)


def multistep_sde(run, s, shift, eta, order, heun):
    s = offset(s, shift)
    values, lengths = [], []
    for a, b in zip(s[:-1], s[1:]):
        denoised = run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        h = snr(b) - snr(a)
        long = h * (1 + eta)
        x = b / a * math.exp(-h * eta) * run.x - (1 - b) * math.expm1(-long) * denoised
        phi2 = math.expm1(-long) / long + 1
        if len(values) >= 2 and order == 3:
            r0, r1 = lengths[0] / h, lengths[1] / h
            near, far = (denoised - values[0]) / r0, (values[0] - values[1]) / r1
            x = x + (1 - b) * phi2 * (near + (near - far) * r0 / (r0 + r1))
            x = x - (1 - b) * (phi2 / long - 0.5) * (near - far) / (r0 + r1)
        elif values:
            slope = phi2 if heun or order == 3 else -math.expm1(-long) / 2
            x = x + (1 - b) * slope * (denoised - values[0]) * h / lengths[0]
        run.step(x + run.normal() * b * math.sqrt(-math.expm1(-2 * h * eta)))
        values, lengths = [denoised] + values[:1], [h] + lengths[:1]


def er_sde(run, s, shift, eta):
    """With exact integrals in place of ComfyUI's sums of 200 parts."""
    s = offset(s, shift)
    phi = lambda r: r * (np.exp(r ** 0.3) + 10)
    ratios = [a / (1 - a) for a in s]
    values, slopes = [], []
    for i, (a, b) in enumerate(zip(s[:-1], s[1:])):
        denoised = run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        f, t = ratios[i], ratios[i + 1]
        part = float(phi(t) / phi(f))
        x = (1 - b) / (1 - a) * part * run.x + (1 - b) * (1 - part) * denoised
        u = np.linspace(math.log(t), math.log(f), 100001)
        r = np.exp(u)
        integral = lambda y: float(np.sum((y[1:] + y[:-1]) / 2) * (u[1] - u[0]))
        if values:
            slope = (denoised - values[0]) / (f - ratios[i - 1])
            x = x + (1 - b) * (t - f + float(phi(t)) * integral(r / phi(r))) * slope
            if slopes:
                curve = (slope - slopes[0]) / ((f - ratios[i - 2]) / 2)
                x = x + (1 - b) * ((t - f) ** 2 / 2 + float(phi(t)) * integral(r * (r - f) / phi(r))) * curve
            slopes = [slope]
        values = [denoised]
        run.step(x + (1 - b) * run.normal() * math.sqrt(max(t * t - (part * f) ** 2, 0)))


def euler_a_cfg_pp(run, s, shift, eta):
    s = offset(s, shift)
    for a, b in zip(s[:-1], s[1:]):
        denoised, negative = run.guided(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        d = (run.x - (1 - a) * negative) / a
        down, up = ancestral(a / (1 - a), b / (1 - b), eta)
        x = (1 - b) * denoised + (1 - b) * down * d
        run.step(x + (1 - b) * run.normal() * up if eta > 0 else x)


def multistep(order, heun):
    return lambda run, s, shift, eta: multistep_sde(run, s, shift, eta, order, heun)


COMFY = [("euler_a", euler_a, (1.0, 0.5)), ("dpm2_a", dpm2_a, (1.0, 0.5)), ("dpm++2s_a", dpmpp_2s_a, (1.0, 0.5)),
         ("dpm2", dpm2, (0,)), ("lms", lms, (0,)), ("ipndm", ipndm, (0,)), ("res_multistep", res_multistep, (0,)),
         ("dpm++_sde", dpmpp_sde, (1.0, 0.5)), ("dpm++2m_sde", multistep(2, False), (1.0, 0.5)),
         ("dpm++2m_sde_heun", multistep(2, True), (1.0,)), ("dpm++3m_sde", multistep(3, True), (1.0, 0.5)),
         ("er_sde", er_sde, (1.0,)), ("euler_a_cfg++", euler_a_cfg_pp, (1.0, 0.5)), ("euler_cfg++", euler_a_cfg_pp, (0,))]


def start(seed):
    random = np.random.default_rng(seed)
    return [random.standard_normal(SHAPE).astype(np.float32) for _ in range(3)]


def comfy():
    # From pure noise, and from where an image shows through.
    shifted = lambda t, shift: shift * t / (1 + (shift - 1) * t)
    for name, sample, etas in COMFY:
        for eta in etas:
            for label, shift, first in (("noise", 3.0, 1.0), ("image", 1.5, 0.6)):
                s = [shifted(first * (1 - i / STEPS), shift) for i in range(STEPS + 1)]
                s = [float(np.float32(a)) for a in s]
                x0, mu, mu_negative = start(77 + STEPS)
                run = Run(x0.astype(np.float64) * s[0], mu.astype(np.float64), mu_negative.astype(np.float64), 5)
                sample(run, s, shift, eta)
                tensors = {"x0": x0, "mu": mu, "sigmas": s, "asked": run.asked, "trajectory": run.after}
                if "cfg++" in name:
                    tensors["mu_negative"] = mu_negative
                if run.noise:
                    tensors["noise"] = run.noise
                facts = {"sampler": name, "shift": shift}
                if len(etas) > 1 or eta > 0:
                    facts["eta"] = eta
                yield f"comfy/{name}/{label}-eta-{eta:g}", facts, tensors


# Classes of diffusers.

def classes():
    import diffusers as d
    flow = dict(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    yield "euler", "euler", {}, d.FlowMatchEulerDiscreteScheduler(shift=3.0)
    yield "euler-stochastic", "lcm", {}, d.FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)
    yield "lcm", "lcm", {}, d.FlowMatchLCMScheduler(shift=3.0)
    yield "heun", "heun", {}, d.FlowMatchHeunDiscreteScheduler(shift=3.0)
    multi = d.DPMSolverMultistepScheduler
    yield "dpm++2m", "dpm++2m", {}, multi(**flow)
    yield "dpm++3m", "dpm++2m", {"order": 3}, multi(solver_order=3, **flow)
    yield "dpm++2m-sde", "dpm++2m_sde", {}, multi(algorithm_type="sde-dpmsolver++", **flow)
    yield "dpm++2m-sde-heun", "dpm++2m_sde_heun", {}, multi(algorithm_type="sde-dpmsolver++", solver_type="heun", **flow)
    yield "dpm++2s", "dpm++2s", {}, d.DPMSolverSinglestepScheduler(**flow)
    for order in (2, 3):
        yield f"unipc{order}", "unipc", {"order": order}, d.UniPCMultistepScheduler(solver_order=order, **flow)
        yield f"deis{order}", "deis", {"order": order}, d.DEISMultistepScheduler(solver_order=order, **flow)


def diffusers():
    import sys, torch
    torch.set_num_threads(1)
    for case, sampler, facts, scheduler in classes():
        x0, mu, _ = start(77)
        random, noise = np.random.default_rng(6), []

        def normal(shape, **_):
            noise.append(random.standard_normal(tuple(shape)).astype(np.float32))
            return torch.from_numpy(noise[-1])

        sys.modules[type(scheduler).__module__].randn_tensor = normal
        scheduler.set_timesteps(STEPS)
        sigmas = [float(a) for a in scheduler.sigmas]
        is_heun = sampler == "heun"
        x = torch.from_numpy(x0) * sigmas[0]
        asked, after = [], []
        for i, t in enumerate(scheduler.timesteps):
            # A level between two has two entries there: the end of a step, and where the next begins.
            sigma = sigmas[i + 1] if is_heun and i % 2 else sigmas[i]
            asked.append(sigma)
            v = velocity(x.double().numpy(), sigma, mu.astype(np.float64)).astype(np.float32)
            x = scheduler.step(torch.from_numpy(v), t, x, return_dict=False)[0]
            after.append(x.numpy().copy())
        if is_heun:
            after, sigmas = after[1::2] + after[-1:], sigmas[0::2]
            sigmas = sigmas if sigmas[-1] == 0 else sigmas + [0.0]
        if sigmas[-1] > 0:
            after, sigmas[-1] = after[:-1], 0.0
        tensors = {"x0": x0, "mu": mu, "sigmas": sigmas, "asked": asked, "trajectory": after}
        if noise:
            tensors["noise"] = noise
        assert np.isfinite(np.array(after)).all(), case
        yield f"diffusers/{case}", {"sampler": sampler, "shift": 3.0, "class": type(scheduler).__name__, **facts}, tensors


def main():
    header, data, cases, at = {}, [], [], 0
    for case, facts, tensors in list(diffusers()) + list(comfy()):
        tensors = {name: np.asarray(values, np.float32) for name, values in tensors.items()}
        for name, values in tensors.items():
            raw = values.tobytes()
            header[f"{case}/{name}"] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
            data.append(raw)
            at += len(raw)
        cases.append({"group": "schedulers/flow", "case": case, "file": FILE,
                      "tensors": {name: list(values.shape) for name, values in tensors.items()}, **facts,
                      "tol": {"rel": 1e-4, "abs": 1e-4}, "about": "see flow_samplers.py"})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, "goldens", FILE), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    golden_index.put(FILE, cases)
    print(json.dumps(["schedulers/flow/" + case["case"] for case in cases], indent=1))


if __name__ == "__main__":
    main()
