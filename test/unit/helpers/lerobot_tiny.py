"""Tiny LeRobot policies with random weights, written as LeRobot's training would write them.

Run by the Python of LeRobot's environment: `lerobot_tiny.py make FOLDER` makes FOLDER/act, diffusion and smolvla, each with
expected.json, what LeRobot's own predict_action answers there; `lerobot_tiny.py refuse CHILD FOLDER ...` says how the sidecar's
loader refuses each folder. Two cameras, a state of 6, actions of 7.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

SIDE = 32
INPUTS = {
    "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
    "observation.images.wrist": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
    "observation.state": PolicyFeature(FeatureType.STATE, (6,)),
}
OUTPUTS = {"action": PolicyFeature(FeatureType.ACTION, (7,))}
SETTINGS = {
    "act": {
        "chunk_size": 4, "n_action_steps": 2, "dim_model": 32, "n_heads": 2, "dim_feedforward": 32, "n_encoder_layers": 1,
        "n_vae_encoder_layers": 1, "latent_dim": 4, "pretrained_backbone_weights": None,
    },
    "diffusion": {
        "n_obs_steps": 2, "horizon": 8, "n_action_steps": 2, "down_dims": (16, 32), "kernel_size": 3, "n_groups": 4,
        "diffusion_step_embed_dim": 16, "num_train_timesteps": 10, "num_inference_steps": 2, "crop_shape": None,
        "spatial_softmax_num_keypoints": 4, "pretrained_backbone_weights": None,
    },
    "smolvla": {
        "load_vlm_weights": False, "num_vlm_layers": 2, "chunk_size": 4, "n_action_steps": 2, "num_steps": 2,
        "resize_imgs_with_padding": (SIDE, SIDE),
    },
}  # fmt: skip
STATISTICS = {
    **{key: {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25),
             "min": torch.zeros(3, 1, 1), "max": torch.ones(3, 1, 1)} for key in list(INPUTS)[:2]},
    "observation.state": {"mean": torch.zeros(6), "std": torch.ones(6), "min": -torch.ones(6), "max": torch.ones(6)},
    "action": {"mean": torch.full((7,), 0.1), "std": torch.full((7,), 0.2), "min": torch.full((7,), -0.5),
               "max": torch.full((7,), 0.5)},
}  # fmt: skip
MAPPING = {
    "info": {
        "id": "tiny", "task": "lift", "robot": "Panda", "image_height": SIDE, "image_width": SIDE,
        "proprio": ["eef_pos", "eef_quat", "gripper_qpos"], "action_dim": 7, "action_space": "osc_pose", "rate": 10.0,
        "horizon": 40,
    },
    "prompt": "pick up the red cube",
    "observation": {
        "observation.images.front": {"image": "camera"},
        "observation.images.wrist": {"image": "black"},
        "observation.state": {"proprio": ["eef_pos", "eef_axis_angle"]},
    },
}  # fmt: skip


SPECIAL = {
    "image_token": "<image>", "fake_image_token": "<fake>", "global_image_token": "<global>", "end_of_utterance_token": "<end>",
}  # fmt: skip


def make_vlm(folder):
    """A vision-language model of two layers with a tokenizer of a dozen words, as SmolVLA wants one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    words = ["<unk>", "<pad>", "<s>", "</s>", *SPECIAL.values(), "pick", "up", "the", "red", "cube"]
    numbered = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbered, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens=SPECIAL,
    )  # fmt: skip
    text = {
        "model_type": "llama", "vocab_size": 32, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE,
        "patch_size": 8,
    }  # fmt: skip
    config = SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=2, image_token_id=4, pad_token_id=1
    )
    config.save_pretrained(folder)
    parts = SmolVLMImageProcessor(), fast, SmolVLMVideoProcessor()
    SmolVLMProcessor(*parts, image_seq_len=4).save_pretrained(folder)


def make(kind, folder):
    torch.manual_seed(0)
    settings = dict(SETTINGS[kind])
    if kind == "smolvla":
        make_vlm(folder / "vlm")
        settings["vlm_model_name"] = str(folder / "vlm")
    config = make_policy_config(
        kind,
        input_features=INPUTS,
        output_features=OUTPUTS,
        device="cpu",
        push_to_hub=False,
        **settings,
    )
    policy = get_policy_class(kind)(config).eval()
    policy.save_pretrained(folder)
    before, after = make_pre_post_processors(config, dataset_stats=STATISTICS)
    for processor in (before, after):
        processor.save_pretrained(folder)
    (folder / "robomd.json").write_text(json.dumps(MAPPING))
    (folder / "expected.json").write_text(json.dumps(expected(policy, before, after)))


def expected(policy, before, after):
    """Three actions of LeRobot's own loop, seed 5."""
    from lerobot.utils.control_utils import predict_action

    torch.manual_seed(5)
    policy.reset()
    device = torch.device("cpu")
    answers = []
    for _ in range(3):
        seen = {
            "observation.images.front": np.arange(SIDE * SIDE * 3)
            .astype(np.uint8)
            .reshape(SIDE, SIDE, 3),
            "observation.images.wrist": np.zeros((SIDE, SIDE, 3), np.uint8),
            "observation.state": np.array([0.1, 0.2, 0.3, 0, 0, np.pi], np.float32),
        }
        answers.append(
            predict_action(seen, policy, device, before, after, False, MAPPING["prompt"], "Panda")
        )
    return torch.cat(answers).tolist()


def refuse(child, folders):
    runpy.run_path(child)["_adopt_package"]()
    from robomd_ros.core.errors import RobomdError
    from robomd_ros.policies.sidecars.lerobot_policy import load

    said = {}
    for folder in folders:
        try:
            load(folder)
            said[Path(folder).name] = "it was loaded"
        except RobomdError as error:
            said[Path(folder).name] = f"{type(error).__name__}: {error}"
    sys.stdout.write("\n" + json.dumps(said) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        for name in SETTINGS:
            make(name, Path(sys.argv[2]) / name)
    elif sys.argv[1] == "mapping":
        sys.stdout.write(json.dumps(MAPPING))
    else:
        refuse(sys.argv[2], sys.argv[3:])
