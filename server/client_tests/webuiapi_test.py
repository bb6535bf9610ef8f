"""Draws through the PyPI package webuiapi. The server is at LATENT_URL, see README.md."""

import os
import threading
import time
import unittest
from urllib.parse import urlparse

import webuiapi
from PIL import Image, ImageDraw

URL = urlparse(os.environ.get("LATENT_URL", "http://127.0.0.1:7860"))


def client():
    return webuiapi.WebUIApi(host=URL.hostname, port=URL.port or 80, sampler="Euler a", steps=4)


def square(side=64):
    image = Image.new("RGB", (side, side), "black")
    ImageDraw.Draw(image).rectangle([side // 4, side // 4, 3 * side // 4, 3 * side // 4], fill="white")
    return image


SMALL = {"width": 64, "height": 64, "seed": 7}


class Draws(unittest.TestCase):
    def setUp(self):
        self.api = client()
        self.addCleanup(self.api.session.close)

    def test_txt2img(self):
        result = self.api.txt2img(prompt="a red apple", negative_prompt="blur", cfg_scale=7, n_iter=2, **SMALL)
        self.assertEqual([image.size for image in result.images], [(64, 64), (64, 64)])
        self.assertEqual(result.info["all_seeds"], [7, 8])
        self.assertEqual(result.info["sampler_name"], "Euler a")
        self.assertEqual(result.parameters["prompt"], "a red apple")
        self.assertIn("Steps: 4", result.image.info["parameters"])
        self.assertEqual(result.image.info["parameters"], result.info["infotexts"][0])

    def test_second_pass(self):
        result = self.api.txt2img(
            prompt="a sun", enable_hr=True, hr_scale=2, hr_upscaler=webuiapi.HiResUpscaler.Latent,
            hr_second_pass_steps=2, denoising_strength=0.7, **SMALL,
        )
        self.assertEqual(result.image.size, (128, 128))

    def test_img2img(self):
        result = self.api.img2img(images=[square()], prompt="a pear", denoising_strength=0.6, **SMALL)
        self.assertEqual(result.image.size, (64, 64))
        self.assertEqual(result.info["denoising_strength"], 0.6)

    def test_inpaint(self):
        for whole in [True, False]:
            result = self.api.img2img(
                images=[square()], mask_image=square(), inpainting_fill=1, inpaint_full_res=whole, prompt="a plum", **SMALL
            )
            self.assertEqual(result.image.size, (64, 64))
            self.assertEqual(result.image.convert("RGB").getpixel((1, 1)), (0, 0, 0))

    def test_upscale(self):
        result = self.api.extra_single_image(
            image=square(), upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5
        )
        self.assertEqual(result.image.size, (96, 96))
        self.assertEqual(self.api.extra_single_image(image=square()).image.size, (64, 64))
        several = self.api.extra_batch_images(images=[square(), square(32)], upscaler_1=webuiapi.Upscaler.Lanczos)
        self.assertEqual([image.size for image in several.images], [(128, 128), (64, 64)])

    def test_png_info(self):
        drawn = self.api.txt2img(prompt="a red apple", **SMALL).image
        self.assertIn("Seed: 7", self.api.png_info(drawn).info)

    def test_refusals_are_said(self):
        with self.assertRaises(RuntimeError) as raised:
            self.api.txt2img(prompt="a", styles=["ink"], **SMALL)
        self.assertEqual(raised.exception.args[0], 422)
        self.assertIn("styles", raised.exception.args[1])


class Answers(unittest.TestCase):
    def setUp(self):
        self.api = client()
        self.addCleanup(self.api.session.close)

    def test_lists(self):
        api = self.api
        self.assertIn("demo", [model["model_name"] for model in api.get_sd_models()])
        self.assertIn("Euler a", api.util_get_sampler_names())
        self.assertIn("karras", api.util_get_scheduler_names())
        self.assertIn("Lanczos", [upscaler["name"] for upscaler in api.get_upscalers()])
        self.assertIn("Latent", [mode["name"] for mode in api.get_latent_upscale_modes()])
        for listed in [api.get_loras(), api.get_sd_vae(), api.get_hypernetworks(), api.get_face_restorers(),
                       api.get_realesrgan_models(), api.get_prompt_styles()]:
            self.assertIsInstance(listed, list)
        self.assertEqual(set(api.get_embeddings()), {"loaded", "skipped"})
        self.assertEqual(set(api.get_memory()), {"ram", "cuda"})
        self.assertTrue(api.get_cmd_flags()["api"])
        self.assertIn("txt2img", api.get_scripts())
        api.refresh_checkpoints()
        self.assertEqual(api.controlnet_version(), 2)
        self.assertIn("canny", api.controlnet_module_list())
        self.assertIsInstance(api.controlnet_model_list(), list)
        detected = api.controlnet_detect([square()], module="canny", processor_res=64)
        self.assertEqual(detected.image.size, (64, 64))

    def test_options(self):
        before = self.api.util_get_current_model()
        self.api.util_set_model("demo")
        self.api.set_options({"CLIP_stop_at_last_layers": 2})
        self.assertEqual(self.api.get_options()["CLIP_stop_at_last_layers"], 2)
        self.api.set_options({"CLIP_stop_at_last_layers": 1, "sd_model_checkpoint": before})
        self.assertEqual(self.api.util_get_current_model(), before)

    def test_progress_and_interrupt(self):
        results = []
        draw = threading.Thread(target=lambda: results.append(client().txt2img(prompt="a sun", n_iter=500, **SMALL)))
        draw.start()
        while self.api.get_progress()["state"]["job_no"] < 1:
            time.sleep(0.05)
        progress = self.api.get_progress()
        self.assertTrue(0 < progress["progress"] < 1)
        self.assertEqual(progress["state"]["job_count"], 500)
        self.api.interrupt()
        draw.join()
        self.assertTrue(1 <= len(results[0].images) < 500)
        self.api.util_wait_for_ready(check_interval=0.1)


if __name__ == "__main__":
    unittest.main()
