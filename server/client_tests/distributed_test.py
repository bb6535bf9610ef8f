"""Asks for what the webui's extension `stable-diffusion-webui-distributed` 2.3.0 asks of each of its workers, and reads what it reads.

The extension sends the webui's own object of a job, with all that is in it, and gives each worker its part of a batch.
"""

import base64
import json
import unittest

import requests

from clients import KEY, URL, opened, png

# What the webui keeps of a job beside the settings of its page.
KEPT = {
    "outpath_samples": "outputs", "outpath_grids": "outputs", "prompt_for_display": None, "styles": [], "subseed": 11,
    "subseed_strength": 0, "seed_resize_from_h": -1, "seed_resize_from_w": -1, "seed_enable_extras": True, "restore_faces": None,
    "tiling": None, "do_not_save_samples": False, "do_not_save_grid": False, "extra_generation_params": {}, "overlay_images": None,
    "eta": None, "do_not_reload_embeddings": False, "ddim_discretize": None, "s_min_uncond": 0.0, "s_churn": 0.0, "s_tmax": 1e308,
    "s_tmin": 0.0, "s_noise": 1.0, "override_settings": {}, "override_settings_restore_afterwards": True, "sampler_index": None,
    "refiner_checkpoint": None, "refiner_switch_at": None, "disable_extra_networks": False, "scripts_setup_complete": True,
    "comments": {}, "sampler": None, "paste_to": None, "is_hr_pass": False, "rng": None, "step_multiplier": 1, "iteration": 0,
    "all_prompts": None, "all_seeds": None, "main_prompt": None, "user": None, "is_api": False, "scripts": None, "alwayson_scripts": {},
    "prompt": "a red apple", "negative_prompt": "", "seed": 7, "n_iter": 1, "steps": 4, "cfg_scale": 5.0, "width": 64, "height": 64,
    "sampler_name": "Euler a", "scheduler": "Automatic",
}
TXT2IMG = {
    "enable_hr": False, "denoising_strength": 0.75, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2.0,
    "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": None,
    "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": "", "hr_upscale_to_x": 0, "truncate_x": 0,
    "latent_scale_mode": None,
}
IMG2IMG = {
    "resize_mode": 0, "denoising_strength": 0.75, "image_cfg_scale": 1.5, "mask": None, "mask_blur_x": 4, "mask_blur_y": 4,
    "inpainting_fill": 1, "inpaint_full_res": False, "inpaint_full_res_padding": 32, "inpainting_mask_invert": 0,
    "initial_noise_multiplier": 1.0, "latent_mask": None, "nmask": None, "init_img_hash": None, "mask_for_overlay": None,
}


class Distributes(unittest.TestCase):
    def setUp(self):
        self.session = requests.Session()
        # It sends a name and a password in any case.
        self.session.auth = ("None", KEY)
        self.addCleanup(self.session.close)

    def ask(self, method, route, **body):
        answer = self.session.request(method, f"{URL}/sdapi/v1/{route}", **body)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def draw(self, route, **settings):
        """The pixels of a job's images, with the seeds and the texts that the extension takes from the answer."""
        fields = {**KEPT, **settings}
        fields["sampler_index"] = fields["sampler_name"]
        answer = self.ask("POST", route, json=fields)
        info, count = json.loads(answer["info"]), answer["parameters"]["batch_size"] * answer["parameters"]["n_iter"]
        self.assertEqual(len(answer["images"]), count)
        names = ["all_seeds", "all_subseeds", "all_negative_prompts", "all_prompts", "infotexts"]
        self.assertEqual([len(info[name]) for name in names], [count] * 5)
        for name in ["seed", "subseed", "negative_prompt", "prompt"]:
            self.assertEqual(info[name], info[f"all_{name}s"][0])
        return [opened(base64.b64decode(image)).tobytes() for image in answer["images"]], info["all_seeds"]

    def test_a_worker_is_known_by_its_memory_scripts_and_models(self):
        self.assertTrue({"system", "error"} & set(self.ask("GET", "memory")["cuda"]))
        for script in self.ask("GET", "script-info"):
            self.assertLessEqual({"name", "is_alwayson", "is_img2img"}, set(script))
        titles = [model["title"] for model in self.ask("GET", "sd-models")]
        self.assertIn("demo", [title.split(" [")[0].split(".")[0] for title in titles])
        self.ask("POST", "options", json={"sd_model_checkpoint": "demo", "sd_vae": "Automatic"})
        for route in ["refresh-checkpoints", "refresh-loras", "interrupt"]:
            self.ask("POST", route)

    def test_the_parts_of_a_batch_are_the_batch(self):
        second_pass = {"enable_hr": True, "hr_upscaler": "Latent"}
        varied = {"subseed": 5, "subseed_strength": 0.4}
        for settings in [{}, {"n_iter": 2}, varied, second_pass, {"sampler_name": "Euler", "s_churn": 5.0}]:
            settings = {**TXT2IMG, **settings}
            whole = self.draw("txt2img", batch_size=3, **settings)
            before = 2 * settings.get("n_iter", 1)
            shift = {name: settings.get(name, KEPT[name]) for name in ["seed", "subseed"]}
            shift["subseed"] += before
            shift["seed"] += before if settings.get("subseed_strength", 0) == 0 else 0
            first = self.draw("txt2img", batch_size=2, **settings)
            second = self.draw("txt2img", batch_size=1, **{**settings, **shift})
            self.assertEqual(first[1] + second[1], whole[1])
            self.assertEqual(first[0] + second[0], whole[0])

    def test_the_parts_of_a_batch_from_an_image_are_the_batch(self):
        image = "data:image/png;base64," + base64.b64encode(png()).decode()
        for mask in [None, image]:
            settings = {**IMG2IMG, "init_images": [image], "mask": mask}
            whole, parts = (self.draw("img2img", batch_size=2, **settings), [])
            for i in range(2):
                parts += self.draw("img2img", batch_size=1, **settings, seed=KEPT["seed"] + i)[0]
            self.assertEqual(parts, whole[0])


if __name__ == "__main__":
    unittest.main()
