"""Bounds what generated requests draw: one step of 32 x 32 pixels, whatever else they ask for. Half of the images that they
send are images."""

import random

import schemathesis
from clients import png

SMALL = {"steps": 1, "size": "32x32"}
# Options that make a job larger.
LARGE = ("hires", "sigmas", "n", "batch_size", "batch_count", "batch-size", "batch-count", "width", "height")
IMAGES = (png(32), png(32, hole=True))


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if case.path.startswith("/v1/images/") and isinstance(body, dict):
        bound(body, SMALL)
        is_form = case.media_type == "multipart/form-data"
        for name in {"image", "mask"} & set(body if is_form else ()):
            if random.random() < 0.5:
                body[name] = random.choice(IMAGES)
    elif case.path == "/api/v1/jobs" and isinstance(body, dict) and isinstance(body.get("options"), dict):
        bound(body["options"], {"steps": 1, "width": 32, "height": 32})


def bound(options, small):
    for name in LARGE:
        options.pop(name, None)
    options.update(small)
