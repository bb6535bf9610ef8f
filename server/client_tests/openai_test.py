"""The package `openai` as it is, against `latent serve`."""

import asyncio
import base64
import unittest

import openai
import requests
from clients import KEY, URL, opened, png

SMALL = {"steps": 2, "seed": 7}


def client(**more):
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, **more)


def images(answer):
    return [base64.b64decode(image.b64_json) for image in answer.data]


class Generate(unittest.TestCase):
    def test_an_image(self):
        answer = client().images.generate(model="gpt-image-1", prompt="a red apple", size="64x64", extra_body=SMALL)
        (image,) = images(answer)
        self.assertEqual((opened(image).format, opened(image).size), ("PNG", (64, 64)))
        self.assertEqual((answer.size, answer.output_format, answer.background), ("64x64", "png", "opaque"))
        self.assertEqual(answer.usage.total_tokens, 0)

    def test_everything_that_the_package_knows(self):
        answer = client().images.generate(
            model="dall-e-3", prompt="a red apple", n=2, size="64x64", quality="high", style="vivid", background="auto",
            output_format="jpeg", output_compression=80, moderation="low", user="somebody", extra_body=SMALL,
        )
        self.assertEqual([opened(image).format for image in images(answer)], ["JPEG", "JPEG"])
        self.assertEqual(answer.quality, "high")

    def test_an_address(self):
        answer = client().images.generate(prompt="a", size="64x64", response_format="url", extra_body=SMALL)
        file = requests.get(answer.data[0].url, headers={"authorization": f"Bearer {KEY}"}, timeout=60)
        self.assertEqual((file.status_code, opened(file.content).size), (200, (64, 64)))

    def test_a_stream(self):
        stream = client().images.generate(
            prompt="a red apple", size="64x64", stream=True, partial_images=2, extra_body={"steps": 6}
        )
        events = list(stream)
        partial, completed = "image_generation.partial_image", "image_generation.completed"
        self.assertEqual([event.type for event in events], [partial, partial, completed])
        self.assertEqual([event.partial_image_index for event in events[:2]], [0, 1])
        for event in events:
            self.assertEqual(opened(base64.b64decode(event.b64_json)).format, "PNG")
        self.assertEqual((events[-1].size, events[-1].usage.output_tokens), ("64x64", 0))

    def test_asynchronously(self):
        async def draw():
            async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as asynchronous:
                drawn = (
                    asynchronous.images.generate(prompt="a", size="64x64", extra_body={"steps": 1, "seed": seed})
                    for seed in (1, 2)
                )
                return await asyncio.gather(*drawn)

        first, second = asyncio.run(draw())
        self.assertNotEqual(images(first), images(second))


class Edit(unittest.TestCase):
    def test_a_mask(self):
        answer = client().images.edit(
            image=("in.png", png()), mask=("mask.png", png(hole=True)), prompt="a green apple", size="64x64",
            extra_body=SMALL,
        )
        image = opened(images(answer)[0]).convert("RGB")
        self.assertEqual([image.getpixel((x, 32)) for x in (0, 8, 16)], [(90, 90, 90)] * 3)
        self.assertNotEqual(image.getpixel((56, 32)), (90, 90, 90))

    def test_a_list_of_one_image_and_a_stream(self):
        stream = client().images.edit(
            image=[("in.png", png())], prompt="a green apple", size="64x64", stream=True, partial_images=1,
            extra_body=SMALL,
        )
        self.assertEqual([event.type for event in stream], ["image_edit.partial_image", "image_edit.completed"])

    def test_a_variation(self):
        answer = client().images.create_variation(image=("in.png", png()), n=2, size="64x64", extra_body={"steps": 2})
        self.assertEqual(len(images(answer)), 2)


class Models(unittest.TestCase):
    def test_the_list(self):
        ids = [model.id for model in client().models.list()]
        self.assertIn("demo", ids)
        self.assertEqual(client().models.retrieve("demo").owned_by, "latent")


class Errors(unittest.TestCase):
    def refused(self, kind, **more):
        with self.assertRaises(kind) as raised:
            client().images.generate(prompt="a", extra_body={"steps": 1}, **more)
        return raised.exception

    def test_their_classes(self):
        error = self.refused(openai.BadRequestError, size="7x7")
        self.assertEqual((error.type, error.param, error.code), ("invalid_request_error", "width", "invalid_value"))
        self.refused(openai.BadRequestError, size="64x64", background="transparent")
        error = self.refused(openai.NotFoundError, size="64x64", model="missing.safetensors")
        self.assertEqual(error.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError):
            client().models.retrieve("missing")
        two = [("a.png", png()), ("b.png", png())]
        with self.assertRaises(openai.BadRequestError):
            client().images.edit(image=two, prompt="a")

    def test_an_error_within_a_stream(self):
        with self.assertRaises(openai.APIError) as raised:
            list(client().images.generate(prompt="a", size="7x7", stream=True))
        self.assertIn("width", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
