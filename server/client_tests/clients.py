"""What the tests of clients share."""

import io
import os

from PIL import Image

URL = os.environ["LATENT_URL"]
KEY = os.environ.get("LATENT_API_KEY", "none")


def png(side=64, hole=False):
    """A grey PNG, whose right half is transparent if it has a hole."""
    image = Image.new("RGBA", (side, side), (90, 90, 90, 255))
    if hole:
        image.paste((0, 0, 0, 0), (side // 2, 0, side, side))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(contents):
    """An image from the bytes of its file."""
    image = Image.open(io.BytesIO(contents))
    image.load()
    return image
