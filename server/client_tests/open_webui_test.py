"""Requests as Open WebUI and LibreChat send them, written down from their sources, and what they read of the answers.

Open WebUI: `backend/open_webui/routers/images.py`, `image_generations` and `image_edits` with the engine `openai`.
LibreChat: `api/app/clients/tools/structured/OpenAIImageTools.js`, `image_gen_oai` and `image_edit_oai`.
"""

import base64
import unittest

import openai
import requests
from clients import KEY, URL, opened, png

BEARER = {"Authorization": f"Bearer {KEY}"}
# What an administrator may set as additional parameters.
EXTRA = {"steps": 2, "negative_prompt": "grey"}


def saved(image):
    """How Open WebUI takes an image of an answer: an address goes first, and base64 may have a `data:` prefix."""
    if url := image.get("url"):
        file = requests.get(url, headers=BEARER, timeout=60)
        assert file.headers["content-type"].split("/")[0] == "image"
        return opened(file.content)
    return opened(base64.b64decode(image["b64_json"]))


class OpenWebUi(unittest.TestCase):
    def generate(self, body, query=""):
        headers = {**BEARER, "Content-Type": "application/json", "X-OpenWebUI-User-Name": "somebody"}
        answer = requests.post(f"{URL}/v1/images/generations{query}", json=body, headers=headers, timeout=120)
        answer.raise_for_status()
        return [saved(image) for image in answer.json()["data"]]

    def test_generations(self):
        body = {"model": "dall-e-2", "prompt": "a red apple", "n": 1, "size": "64x64", "response_format": "b64_json"}
        self.assertEqual([image.size for image in self.generate({**body, **EXTRA})], [(64, 64)])

    def test_generations_of_models_that_know_no_format_of_answers(self):
        body = {"model": "gpt-image-1", "prompt": "a red apple", "n": 2, "size": "64x64"}
        self.assertEqual(len(self.generate({**body, **EXTRA}, "?api-version=2025-04-01-preview")), 2)

    def edit(self, names, **more):
        form = {"model": "dall-e-2", "prompt": "a green apple", "n": "1", "response_format": "b64_json", **more}
        files = [(name, (f"{name}.png", png(), "image/png")) for name in names]
        return requests.post(f"{URL}/v1/images/edits", data=form, files=files, headers=BEARER, timeout=120)

    def test_edits(self):
        for name in ("image", "image[]"):
            answer = self.edit([name], size="64x64", background="auto", steps="2")
            answer.raise_for_status()
            self.assertEqual(saved(answer.json()["data"][0]).size, (64, 64))

    def test_several_images_are_refused_in_words(self):
        answer = self.edit(["image[]", "image[]"])
        self.assertEqual(answer.status_code, 400)
        self.assertIn("one", answer.json()["error"]["message"])

    def test_the_list_of_models_verifies_a_connection(self):
        answer = requests.get(f"{URL}/v1/models", headers=BEARER, timeout=60).json()
        self.assertTrue(all(model["id"] for model in answer["data"]))


class LibreChat(unittest.TestCase):
    def test_generations(self):
        answer = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY).images.generate(
            model="gpt-image-1", prompt="a red apple", n=1, background="auto", output_format="png", quality="auto",
            size="auto",
        )
        self.assertEqual(opened(base64.b64decode(answer.data[0].b64_json)).format, "PNG")

    def test_edits(self):
        form = {"model": "gpt-image-1", "prompt": "a green apple", "quality": "auto", "size": "auto"}
        files = {"image[]": ("in.png", png(), "image/png")}
        answer = requests.post(f"{URL}/v1/images/edits", data=form, files=files, headers=BEARER, timeout=120)
        self.assertTrue(base64.b64decode(answer.json()["data"][0]["b64_json"]).startswith(b"\x89PNG"))


if __name__ == "__main__":
    unittest.main()
