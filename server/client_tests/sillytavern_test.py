"""What SillyTavern, Open WebUI and LibreChat send to a webui, and what they read of its answers.

The shapes are written down from their sources: SillyTavern's src/endpoints/stable-diffusion.js and
public/scripts/extensions/stable-diffusion/index.js (sources "auto" and "forge"), Open WebUI's
backend/open_webui/routers/images.py (engine automatic1111), LibreChat's
api/app/clients/tools/structured/StableDiffusion.js. The server is at LATENT_URL, see README.md.
"""

import base64
import json
import os
import threading
import time
import unittest
import urllib.error
import urllib.request

URL = os.environ.get("LATENT_URL", "http://127.0.0.1:7860").rstrip("/")


def send(address, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Basic Og=="}
    request = urllib.request.Request(f"{URL}{address}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def is_png(text):
    return base64.b64decode(text).startswith(b"\x89PNG")


class SillyTavern(unittest.TestCase):
    def auto(self, **more):
        """generateAutoImage: the settings of its panel, and what it adds."""
        return {
            "url": URL,
            "auth": "",
            "prompt": "best quality, a red apple",
            "negative_prompt": "lowres",
            "sampler_name": "DPM++ 2M",
            "scheduler": "Karras",
            "steps": 4,
            "cfg_scale": 7,
            "width": 64,
            "height": 64,
            "restore_faces": False,
            "enable_hr": False,
            "hr_upscaler": "Latent",
            "hr_scale": 2,
            "hr_additional_modules": [],
            "denoising_strength": 0.7,
            "hr_second_pass_steps": 0,
            "override_settings": {"CLIP_stop_at_last_layers": 1, "forge_additional_modules": []},
            "override_settings_restore_afterwards": True,
            "clip_skip": 1,
            "save_images": True,
            "send_images": True,
            "do_not_save_grid": False,
            "do_not_save_samples": False,
            **more,
        }

    def test_the_lists_of_its_panel(self):
        self.assertIn("sd_model_checkpoint", send("/sdapi/v1/options"))
        upscalers = [entry["name"] for entry in send("/sdapi/v1/upscalers")]
        self.assertEqual(upscalers[0], "None")
        self.assertTrue([entry["name"] for entry in send("/sdapi/v1/latent-upscale-modes")])
        for address in ["/sdapi/v1/sd-vae", "/sdapi/v1/sd-modules"]:
            self.assertIsInstance([entry["model_name"] for entry in send(address)], list)
        self.assertIn("Euler a", [entry["name"] for entry in send("/sdapi/v1/samplers")])
        self.assertIn("karras", [entry["name"] for entry in send("/sdapi/v1/schedulers")])
        self.assertTrue(all(entry["title"] for entry in send("/sdapi/v1/sd-models")))

    def test_it_sets_a_model_and_waits_until_nothing_runs(self):
        title = send("/sdapi/v1/sd-models")[0]["title"]
        send("/sdapi/v1/options", {"sd_model_checkpoint": title})
        self.assertEqual(send("/sdapi/v1/options")["sd_model_checkpoint"], title)
        state = send("/sdapi/v1/progress")
        self.assertEqual((state["progress"], state["state"]["job_count"]), (0.0, 0))

    def test_it_draws(self):
        self.assertTrue(is_png(send("/sdapi/v1/txt2img", self.auto())["images"][0]))
        self.assertTrue(is_png(send("/sdapi/v1/txt2img", self.auto(enable_hr=True, seed=7))["images"][0]))

    def test_its_second_detailer_is_refused_in_words(self):
        scripts = {"ADetailer": {"args": [True, True, {"ad_model": "face_yolov8n.pt"}]}}
        with self.assertRaises(urllib.error.HTTPError) as raised:
            send("/sdapi/v1/txt2img", self.auto(alwayson_scripts=scripts))
        self.assertEqual(raised.exception.code, 422)
        self.assertIn("ADetailer", json.load(raised.exception)["detail"])

    def test_it_interrupts(self):
        answers = []
        body = self.auto(n_iter=500)
        draw = threading.Thread(target=lambda: answers.append(send("/sdapi/v1/txt2img", body)))
        draw.start()
        while send("/sdapi/v1/progress")["state"]["sampling_step"] < 1:
            time.sleep(0.05)
        send("/sdapi/v1/interrupt", {})
        draw.join()
        self.assertLess(len(answers[0]["images"]), 500)


class OpenWebUi(unittest.TestCase):
    def test_it_sets_a_model_by_sending_all_options_back(self):
        options = send("/sdapi/v1/options")
        model = send("/sdapi/v1/sd-models")[0]
        options["sd_model_checkpoint"] = model["title"]
        send("/sdapi/v1/options", options)
        self.assertEqual(send("/sdapi/v1/options")["sd_model_checkpoint"], model["title"])
        self.assertTrue(model["model_name"])

    def test_it_draws(self):
        body = {"prompt": "a red apple", "batch_size": 2, "width": 64, "height": 64, "steps": 4, "negative_prompt": "blur"}
        answer = send("/sdapi/v1/txt2img", body)
        self.assertEqual([is_png(image) for image in answer["images"]], [True, True])
        self.assertIsInstance(json.loads(answer["info"]), dict)


class LibreChat(unittest.TestCase):
    def test_it_draws(self):
        # It asks for 22 steps at 1024x1024.
        body = {"prompt": "a red apple", "negative_prompt": "blur", "cfg_scale": 4.5, "steps": 4, "width": 128, "height": 128}
        answer = send("/sdapi/v1/txt2img", body)
        info = json.loads(answer["info"])
        self.assertTrue(is_png(answer["images"][0].split(",", 1)[0]))
        self.assertEqual((info["width"], info["height"]), (128, 128))
        self.assertIsInstance(info["seed"], int)
        self.assertTrue(info["infotexts"][0].split("\n").pop().startswith("Steps: 4, "))


if __name__ == "__main__":
    unittest.main()
