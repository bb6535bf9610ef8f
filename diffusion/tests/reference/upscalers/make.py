"""Makes small upscalers of random weights, and what they make of an image, with PyTorch.

    python make.py ../../../../assets/realesr-animevideov3.safetensors

The networks are written from their papers: SRVGGNetCompact (Wang et al., Real-ESRGAN, 2021), SPAN (Wan et al., 2024) and RRDBNet (Wang et
al., ESRGAN, 2018) and the light SwinIR (Liang et al., 2021). NAME.safetensors is a network, golden.safetensors has `NAME.in` and `NAME.out`, both `[height, width, 3]`.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent


def conv(w, name, x):
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def compact(w, x):
    last = max(int(name.split(".")[1]) for name in w)
    y = x
    for i in range(0, last, 2):
        y = F.prelu(conv(w, f"body.{i}", y), w[f"body.{i + 1}.weight"])
    y = conv(w, f"body.{last}", y)
    scale = round((y.shape[1] // 3) ** 0.5)
    return F.pixel_shuffle(y, scale) + F.interpolate(x, scale_factor=scale, mode="nearest")


def conv3xc(w, name, x):
    """The branches as they are trained: 1x1, 3x3 and 1x1 in a row on the padded input, and a 1x1 beside them."""
    y = F.pad(x, (1, 1, 1, 1))
    y = F.conv2d(y, w[f"{name}.conv.0.weight"], w[f"{name}.conv.0.bias"])
    y = F.conv2d(y, w[f"{name}.conv.1.weight"], w[f"{name}.conv.1.bias"])
    y = F.conv2d(y, w[f"{name}.conv.2.weight"], w[f"{name}.conv.2.bias"])
    return y + F.conv2d(x, w[f"{name}.sk.weight"], w[f"{name}.sk.bias"])


def span(w, x):
    if "no_norm" not in w:
        x = (x - torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)) * 255
    first = conv3xc(w, "conv_1", x)
    y, results, activations = first, [], []
    for i in range(1, 7):
        a = F.silu(conv3xc(w, f"block_{i}.c1_r", y))
        c = conv3xc(w, f"block_{i}.c3_r", F.silu(conv3xc(w, f"block_{i}.c2_r", a)))
        y = (c + y) * (torch.sigmoid(c) - 0.5)
        results.append(y)
        activations.append(a)
    joined = torch.cat([first, conv3xc(w, "conv_2", y), results[0], activations[5]], 1)
    y = conv(w, "upsampler.0", conv(w, "conv_cat", joined))
    return F.pixel_shuffle(y, round((y.shape[1] // 3) ** 0.5))


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def swin_block(w, name, x, side, heads, shift):
    """`x` is `[height, width, channels]`. Each pixel looks for those that it attends to, one by one: slow and plain."""
    height, width, channels = x.shape
    size = channels // heads
    qkv = linear(w, f"{name}.attn.qkv", norm(w, f"{name}.norm1", x)).view(height, width, 3, heads, size)
    table = w[f"{name}.attn.relative_position_bias_table"]
    attended = torch.zeros(height, width, heads, size)

    def part(at, length):
        return 0 if shift == 0 else (at >= length - side) + (at >= length - shift)

    # Places are those of the image after it was shifted; the pixel there is `shift` further.
    for top in range(0, height, side):
        for left in range(0, width, side):
            places = [(y, x) for y in range(top, top + side) for x in range(left, left + side)]
            pixels = torch.stack([qkv[(y + shift) % height, (x + shift) % width] for y, x in places])
            q, k, v = (pixels[:, i].transpose(0, 1) for i in range(3))  # [heads, pixels, size]
            scores = q @ k.transpose(1, 2) / size**0.5
            for i, (y, x0) in enumerate(places):
                for j, (other_y, other_x) in enumerate(places):
                    offset = (y - other_y + side - 1) * (2 * side - 1) + x0 - other_x + side - 1
                    scores[:, i, j] += table[offset]
                    if (part(y, height), part(x0, width)) != (part(other_y, height), part(other_x, width)):
                        scores[:, i, j] -= 100
            out = (scores.softmax(-1) @ v).transpose(0, 1)
            for i, (y, x0) in enumerate(places):
                attended[(y + shift) % height, (x0 + shift) % width] = out[i]
    x = x + linear(w, f"{name}.attn.proj", attended.reshape(height, width, channels))
    hidden = F.gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x)))
    return x + linear(w, f"{name}.mlp.fc2", hidden)


def swinir(w, x):
    heads = w["layers.0.residual_group.blocks.0.attn.relative_position_bias_table"].shape[1]
    side = round((w["layers.0.residual_group.blocks.0.attn.relative_position_bias_table"].shape[0] ** 0.5 + 1) / 2)
    height, width = x.shape[2:]
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    x = F.pad(x, (0, -width % side, 0, -height % side), "reflect") - mean
    first = conv(w, "conv_first", x)

    def image(y):
        return y.permute(2, 0, 1)[None]

    def pixels(y):
        return y[0].permute(1, 2, 0)

    y = norm(w, "patch_embed.norm", pixels(first))
    layers = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("layers."))
    for layer in range(layers):
        before = y
        name = f"layers.{layer}.residual_group.blocks"
        blocks = 1 + max(int(key.split(".")[4]) for key in w if key.startswith(name))
        for block in range(blocks):
            y = swin_block(w, f"{name}.{block}", y, side, heads, 0 if block % 2 == 0 else side // 2)
        y = before + pixels(conv(w, f"layers.{layer}.conv", image(y)))
    y = first + conv(w, "conv_after_body", image(norm(w, "norm", y)))
    y = conv(w, "upsample.0", y)
    scale = round((y.shape[1] // 3) ** 0.5)
    return F.pixel_shuffle(y, scale)[:, :, : height * scale, : width * scale] + mean


def esrgan(w, x):
    side = {3: 1, 12: 2, 48: 4}[w["conv_first.weight"].shape[1]]
    first = conv(w, "conv_first", F.pixel_unshuffle(x, side))
    y = first
    for block in range(sum(name.endswith("rdb1.conv1.weight") for name in w)):
        outer = y
        for dense in (1, 2, 3):
            inner, parts = y, [y]
            for i in range(1, 5):
                parts.append(F.leaky_relu(conv(w, f"body.{block}.rdb{dense}.conv{i}", torch.cat(parts, 1)), 0.2))
            y = inner + 0.2 * conv(w, f"body.{block}.rdb{dense}.conv5", torch.cat(parts, 1))
        y = outer + 0.2 * y
    y = first + conv(w, "conv_body", y)
    for i in (1, 2):
        y = F.leaky_relu(conv(w, f"conv_up{i}", F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
    return conv(w, "conv_last", F.leaky_relu(conv(w, "conv_hr", y), 0.2))


class Random:
    """Layers of random weights that keep signals at about their size."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.w = {}

    def normal(self, shape, size):
        return (torch.randn(shape, generator=self.generator) * size).half().float()

    def conv(self, name, outputs, inputs, kernel=3, gain=1.0):
        self.w[f"{name}.weight"] = self.normal((outputs, inputs, kernel, kernel), gain * (1.5 / (inputs * kernel**2)) ** 0.5)
        self.w[f"{name}.bias"] = self.normal((outputs,), 0.05)


def random_compact(seed, features, convs, scale):
    r = Random(seed)
    for i in range(convs + 1):
        r.conv(f"body.{2 * i}", features, 3 if i == 0 else features)
        r.w[f"body.{2 * i + 1}.weight"] = 0.2 + r.normal((features,), 0.2)
    r.conv(f"body.{2 * convs + 2}", 3 * scale**2, features, gain=0.3)
    return {name: value.half().float() for name, value in r.w.items()}


def random_span(seed, features, scale, norm):
    r = Random(seed)

    def branches(name, outputs, inputs, gain=1.0):
        r.conv(f"{name}.sk", outputs, inputs, 1, 0.5 * gain)
        r.conv(f"{name}.conv.0", 2 * inputs, inputs, 1)
        r.conv(f"{name}.conv.1", 2 * outputs, 2 * inputs, 3)
        r.conv(f"{name}.conv.2", outputs, 2 * outputs, 1, 0.7 * gain)
        # What a trainer leaves there is not read.
        r.conv(f"{name}.eval_conv", outputs, inputs)

    branches("conv_1", features, 3, 0.02 if norm else 1.5)
    for i in range(1, 7):
        for j in (1, 2, 3):
            branches(f"block_{i}.c{j}_r", features, features, 1.6)
    branches("conv_2", features, features)
    r.conv("conv_cat", features, 4 * features, 1)
    r.conv("upsampler.0", 3 * scale**2, features, gain=0.3)
    r.w["upsampler.0.bias"] += 0.5
    if not norm:
        r.w["no_norm"] = torch.zeros(1)
    return {name: value.half().float() for name, value in r.w.items()}


def random_swinir(seed, features, depths, heads, side, scale):
    r = Random(seed)

    def linear(name, outputs, inputs):
        r.w[f"{name}.weight"] = r.normal((outputs, inputs), (1.5 / inputs) ** 0.5)
        r.w[f"{name}.bias"] = r.normal((outputs,), 0.05)

    def norm(name):
        r.w[f"{name}.weight"] = 1 + r.normal((features,), 0.2)
        r.w[f"{name}.bias"] = r.normal((features,), 0.1)

    r.conv("conv_first", features, 3)
    norm("patch_embed.norm")
    for layer, depth in enumerate(depths):
        for block in range(depth):
            name = f"layers.{layer}.residual_group.blocks.{block}"
            norm(f"{name}.norm1")
            norm(f"{name}.norm2")
            linear(f"{name}.attn.qkv", 3 * features, features)
            linear(f"{name}.attn.proj", features, features)
            linear(f"{name}.mlp.fc1", 2 * features, features)
            linear(f"{name}.mlp.fc2", features, 2 * features)
            r.w[f"{name}.attn.relative_position_bias_table"] = r.normal(((2 * side - 1) ** 2, heads), 0.5)
        r.conv(f"layers.{layer}.conv", features, features)
    norm("norm")
    r.conv("conv_after_body", features, features)
    r.conv("upsample.0", 3 * scale**2, features, gain=0.2)
    return {name: value.half().float() for name, value in r.w.items()}


def random_esrgan(seed, features, growth, blocks, side):
    r = Random(seed)
    r.conv("conv_first", features, 3 * side**2)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for i in range(1, 5):
                r.conv(f"body.{block}.rdb{dense}.conv{i}", growth, features + (i - 1) * growth)
            r.conv(f"body.{block}.rdb{dense}.conv5", features, features + 4 * growth)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        r.conv(name, features, features)
    r.conv("conv_last", 3, features, gain=0.3)
    r.w["conv_last.bias"] += 0.5
    return {name: value.half().float() for name, value in r.w.items()}


def main():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(x / (2 + c) + y / (3 - c) + c) for c in range(3)]
    image = (torch.stack(waves) * 255).round().clamp(0, 255)[None] / 255
    nets = {
        "compact": (compact, random_compact(1, 8, 2, 4)),
        "compact-wdn": (compact, random_compact(2, 8, 2, 4)),
        "compact-2x": (compact, random_compact(3, 6, 1, 2)),
        "span": (span, random_span(4, 4, 4, True)),
        "span-no-norm": (span, random_span(5, 4, 2, False)),
        "swinir": (swinir, random_swinir(8, 8, (2, 2), 2, 8, 2)),
        "esrgan-x1": (esrgan, random_esrgan(6, 6, 3, 1, 4)),
        "esrgan-x2": (esrgan, random_esrgan(7, 6, 3, 1, 2)),
    }
    for network, w in nets.values():
        if network is span:
            # Colours about the middle.
            w["upsampler.0.weight"] = (w["upsampler.0.weight"] * (0.25 / span(w, image).std())).half().float()
    golden = {}
    for name, (network, w) in nets.items():
        save_file({key: value.half() for key, value in w.items()}, HERE / f"{name}.safetensors")
        golden[name] = network(w, image)
    half = {key: 0.25 * value + 0.75 * nets["compact-wdn"][1][key] for key, value in nets["compact"][1].items()}
    golden["compact-mixed"] = compact(half, image)
    trained = {key: value.float() for key, value in load_file(sys.argv[1]).items()}
    golden["animevideov3"] = compact(trained, image)
    tensors = {"in": image[0].permute(1, 2, 0).contiguous()}
    for name, out in golden.items():
        out = out[0].permute(1, 2, 0).contiguous()
        print(name, tuple(out.shape), float(out.mean()), float(out.std()), float(out.abs().max()))
        tensors[f"{name}.out"] = out
    save_file(tensors, HERE / "golden.safetensors")


with torch.no_grad():
    main()
