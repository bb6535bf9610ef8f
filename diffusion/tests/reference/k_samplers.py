"""Goldens of samplers in the form of k-diffusion that diffusers does not have: numpy alone, in f64, from the formulas.

    python3 k_samplers.py

writes goldens/schedulers/k-epsilon-2.safetensors and its cases in goldens/index.json. The network is the analytic stand-in of the
other scheduler goldens (a normal distribution around `mu` with a ripple); the latents are x0 + sigma n. `noise` are the normals in
the order in which they are drawn, `timesteps` what the network is asked for, and `trajectory` the latents after each step: for
samplers whose steps are not those of the schedule, the latents of each evaluation after the first, and the result.
"""
import json, math, os, struct
import numpy as np
import golden_index

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = "schedulers/k-epsilon-2.safetensors"
SHAPE = (1, 4, 8, 8)
AC = np.cumprod(1 - np.linspace(0.00085 ** .5, 0.012 ** .5, 1000) ** 2)
LEVELS = np.sqrt((1 - AC) / AC)


def karras(n, low, high):
    a, b = high ** (1 / 7), low ** (1 / 7)
    return [(a + (b - a) * i / max(n - 1, 1)) ** 7 for i in range(n)]


def schedule(name, n):
    low, high = LEVELS[0], LEVELS[-1]
    if name == "karras":
        return karras(n, low, high) + [0.0]
    if name == "exponential":
        return list(np.exp(np.linspace(math.log(high), math.log(low), n))) + [0.0]
    t = np.linspace(999, 0, n)
    return list(np.exp(np.interp(t, np.arange(1000), np.log(LEVELS)))) + [0.0]


class Run:
    """A sampler's surroundings: the model, the noise, and what is recorded."""

    def __init__(self, x, mu, mu_negative, seed):
        self.x, self.mu, self.mu_negative = x, mu, mu_negative
        self.random = np.random.default_rng(seed)
        self.noise, self.times, self.asked, self.after = [], [], [], []

    def network(self, x, t, mu):
        t = min(max(t, 0.0), 999.0)
        i = min(int(t), 998)
        a = (1 - (t - i)) * AC[i] + (t - i) * AC[i + 1]
        d = x - math.sqrt(a) * mu
        return math.sqrt(1 - a) / (a * 0.25 + 1 - a) * d + 0.05 * np.sin(2 * x)

    def estimate(self, x, sigma, mu):
        t = float(np.interp(math.log(sigma), np.log(LEVELS), np.arange(1000)))
        return x - sigma * self.network(x / math.hypot(sigma, 1), t, mu), t

    def model(self, x, sigma):
        denoised, t = self.estimate(x, sigma, self.mu)
        self.times.append(t)
        self.asked.append(x)
        return denoised

    def guided(self, x, sigma, scale=1.5):
        positive, negative = self.model(x, sigma), self.estimate(x, sigma, self.mu_negative)[0]
        return negative + scale * (positive - negative), negative

    def normal(self):
        # As f32, which is what the goldens hold.
        self.noise.append(self.random.standard_normal(SHAPE).astype(np.float32).astype(np.float64))
        return self.noise[-1]

    def step(self, x):
        self.x = x
        self.after.append(x)


def ancestral(a, b, eta):
    up = min(b, eta * math.sqrt(b * b * (a * a - b * b) / (a * a)))
    return math.sqrt(b * b - up * up), up


def heun(run, a, b):
    x = run.x
    d = (x - run.model(x, a)) / a
    if b == 0:
        return x + d * (b - a)
    there = x + d * (b - a)
    second = (there - run.model(there, b)) / b
    return x + (d + second) / 2 * (b - a)


def restart(run, s):
    n = len(s) - 1
    parts = []
    if n >= 20:
        each, times = (n // 4, 2) if n >= 36 else (9, 1)
        s = karras(n - each * times, s[-2], s[0]) + [0.0]
        low = int(np.argmin(np.abs(np.array(s) - 0.1)))
        high = int(np.argmin(np.abs(np.array(s) - 2.0)))
        for i in range(len(s) - 1):
            parts.append((s[i], s[i + 1]))
            if i + 1 == low and high < low:
                again = karras(each + 1, s[low], s[high])
                parts += list(zip(again[:-1], again[1:])) * times
    else:
        parts = list(zip(s[:-1], s[1:]))
    last = None
    for a, b in parts:
        if last is not None and last < a:
            run.x = run.x + run.normal() * math.sqrt(a * a - last * last)
        run.step(heun(run, a, b))
        last = b


class Solver:
    def __init__(self, run):
        self.run = run

    def eps(self, x, t):
        return (x - self.run.model(x, math.exp(-t))) / math.exp(-t)

    def second(self, x, t, u, e, r):
        h, s = u - t, t + r * (u - t)
        one = self.eps(x - math.exp(-s) * math.expm1(r * h) * e, s)
        to = math.exp(-u)
        return x - to * math.expm1(h) * e - to / (2 * r) * math.expm1(h) * (one - e), one

    def third(self, x, t, u, e, one):
        h, s = u - t, t + 2 / 3 * (u - t)
        at, k = math.exp(-s), 2 / 3 * h
        two = self.eps(x - at * math.expm1(k) * e - at * 2 * (math.expm1(k) / k - 1) * (one - e), s)
        to = math.exp(-u)
        return x - to * math.expm1(h) * e - to / (2 / 3) * (math.expm1(h) / h - 1) * (two - e)

    def first_within(self, x, t, u, e):
        h, s = u - t, t + (u - t) / 3
        return self.eps(x - math.exp(-s) * math.expm1(h / 3) * e, s)


def dpm_fast(run, s):
    n, solver = len(s) - 1, Solver(run)
    m = n // 3 + 1
    ts = np.linspace(-math.log(s[0]), -math.log(s[-2]), m + 1)
    orders = [3] * (m - 2) + [2, 1] if n % 3 == 0 else [3] * (m - 1) + [n % 3]
    x = run.x
    for i, order in enumerate(orders):
        t, u = float(ts[i]), float(ts[i + 1])
        e = solver.eps(x, t)
        if order == 1:
            x = x - math.exp(-u) * math.expm1(u - t) * e
        elif order == 2:
            x, _ = solver.second(x, t, u, e, 0.5)
        else:
            x = solver.third(x, t, u, e, solver.first_within(x, t, u, e))
    run.x = x


def dpm_adaptive(run, s):
    solver, x, before = Solver(run), run.x, run.x
    at, end, h = -math.log(s[0]), -math.log(s[-2]), 0.05
    while at < end - 1e-5:
        u = min(end, at + h)
        e = solver.eps(x, at)
        low, one = solver.second(x, at, u, e, 1 / 3)
        high = solver.third(x, at, u, e, one)
        delta = np.maximum(0.0078, 0.05 * np.maximum(np.abs(low), np.abs(before)))
        error = math.sqrt(float(np.mean(((low - high) / delta) ** 2)))
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / 3) - 1)
        h *= factor
        if factor >= 0.81:
            x, before, at = high, low, u
    run.x = x


def euler_cfg_pp(run, s):
    for a, b in zip(s[:-1], s[1:]):
        denoised, negative = run.guided(run.x, a)
        run.step(denoised + (run.x - negative) / a * b)


def euler_ancestral_cfg_pp(run, s):
    for a, b in zip(s[:-1], s[1:]):
        denoised, negative = run.guided(run.x, a)
        down, up = ancestral(a, b, 1.0)
        x = denoised + (run.x - negative) / a * down
        run.step(x + run.normal() * up if b > 0 else x)


def heunpp2(run, s):
    for i in range(len(s) - 1):
        a, b, x = s[i], s[i + 1], run.x
        d = (x - run.model(x, a)) / a
        if b == 0:
            run.step(x + d * (b - a))
            continue
        x2 = x + d * (b - a)
        d2 = (x2 - run.model(x2, b)) / b
        c = s[i + 2]
        if c == 0:
            w2 = b / (2 * s[0])
            run.step(x + ((1 - w2) * d + w2 * d2) * (b - a))
            continue
        x3 = x2 + d2 * (c - b)
        d3 = (x3 - run.model(x3, c)) / c
        w2, w3 = b / (3 * s[0]), c / (3 * s[0])
        run.step(x + ((1 - w2 - w3) * d + w2 * d2 + w3 * d3) * (b - a))


def ipndm_v(run, s):
    slopes = []
    for i in range(len(s) - 1):
        a, b, x = s[i], s[i + 1], run.x
        denoised = run.model(x, a)
        slopes = [(x - denoised) / a] + slopes[:3]
        h = [s[i + 1 - k] - s[i - k] for k in range(min(4, i + 1))]
        if b == 0:
            run.step(denoised)
            continue
        w = [1.0]
        if len(h) >= 2:
            w = [(2 + h[0] / h[1]) / 2, -(h[0] / h[1]) / 2]
        if len(h) >= 3:
            k = (1 - h[0] / (3 * (h[0] + h[1])) * (h[0] * (h[0] + h[1])) / (h[1] * (h[1] + h[2]))) / 2
            w = [w[0] + k, w[1] - (1 + h[1] / h[2]) * k, k * h[1] / h[2]]
        if len(h) >= 4:
            k = ((1 - h[0] / (3 * (h[0] + h[1]))) / 2
                 + (1 - h[0] / (2 * (h[0] + h[1]))) * h[0] / (6 * (h[0] + h[1] + h[2])))
            k *= h[0] * (h[0] + h[1]) * (h[0] + h[1] + h[2]) / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))
            q = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
            w = [w[0] + k, w[1] - (1 + h[1] / h[2] + q) * k, w[2] + (h[1] / h[2] + q * (1 + h[2] / h[3])) * k,
                 -k * q * h[1] / h[2]]
        run.step(x + (b - a) * sum(c * d for c, d in zip(w, slopes)))


def dpmpp_2mv2(run, s):
    old, last = None, None
    for a, b in zip(s[:-1], s[1:]):
        denoised = run.model(run.x, a)
        if b == 0:
            run.step(denoised)
            continue
        h = math.log(a / b)
        if old is None:
            run.step(b / a * run.x - math.expm1(-h) * denoised)
        else:
            r, mean = max(last, h) / min(last, h), (last + h) / 2
            run.step(b / a * run.x - math.expm1(-mean) * ((1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old))
        old, last = denoised, h


def made():
    every = ("normal", "karras", "exponential")
    plan = [("restart", restart, 8, ("karras",)), ("restart", restart, 20, ("karras", "normal")),
            ("restart", restart, 40, ("karras",)),
            ("dpm_fast", dpm_fast, 7, every), ("dpm_fast", dpm_fast, 9, ("normal",)), ("dpm_fast", dpm_fast, 8, ("normal",)),
            ("dpm_adaptive", dpm_adaptive, 8, ("normal", "karras")),
            ("euler_cfg_pp", euler_cfg_pp, 8, every), ("euler_ancestral_cfg_pp", euler_ancestral_cfg_pp, 8, every),
            ("heunpp2", heunpp2, 8, every), ("ipndm_v", ipndm_v, 8, every), ("dpm++2mv2", dpmpp_2mv2, 8, every)]
    for name, sample, steps, kinds in plan:
        for kind in kinds:
            random = np.random.default_rng(1234 + steps)
            x0, mu, mu_negative = [random.standard_normal(SHAPE).astype(np.float32) for _ in range(3)]
            s = schedule(kind, steps)
            run = Run(x0.astype(np.float64) * s[0], mu.astype(np.float64), mu_negative.astype(np.float64), steps)
            sample(run, s)
            trajectory = run.after or run.asked[1:] + [run.x]
            tensors = {"x0": x0, "mu": mu, "sigmas": np.array(s), "trajectory": np.stack(trajectory),
                       "timesteps": np.array(run.times)}
            if "cfg_pp" in name:
                tensors["mu_negative"] = mu_negative
            if run.noise:
                tensors["noise"] = np.stack(run.noise)
            yield f"{name}/{steps}-{kind}", steps, {k: np.asarray(v, np.float32) for k, v in tensors.items()}


def main():
    header, data, cases, at = {}, [], [], 0
    for case, steps, tensors in made():
        for name, values in tensors.items():
            raw = values.tobytes()
            header[f"{case}/{name}"] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
            data.append(raw)
            at += len(raw)
        cases.append({"group": "schedulers/k-epsilon", "case": case, "file": FILE,
                      "tensors": {name: list(values.shape) for name, values in tensors.items()}, "steps": steps,
                      "tol": {"rel": 2e-4, "abs": 2e-4}, "about": "see k_samplers.py"})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, "goldens", FILE), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    golden_index.put(FILE, cases)


if __name__ == "__main__":
    main()
