#!/usr/bin/env python3
"""Converts weights of torchvision, lpips and pytorch-fid into weights/NAME.safetensors, with the names that the crate's networks have.

    python scripts/export_weights.py NAME [NAME ...] [--checkpoint FILE] [--random SEED] [--out FOLDER]

NAME is vgg16, vgg16_bn, vgg19, vgg19_bn, lpips_alex, lpips_vgg or inception_fid. torchvision fetches its checkpoint by itself;
where there is no network, --checkpoint takes the .pth file (of the trunk, for lpips). The heads of lpips come with its package.
inception_fid always takes --checkpoint: pt_inception-2015-12-05-6726825d.pth of pytorch-fid's releases. --random makes seeded
random weights instead, to try the way without any file. Prints the checksum of what it writes.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file

TRUNKS = {"lpips_alex": "alexnet", "lpips_vgg": "vgg16"}
INCEPTION = "inception_fid"
NAMES = ["vgg16", "vgg16_bn", "vgg19", "vgg19_bn", *TRUNKS, INCEPTION]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--checkpoint", type=Path, help="a .pth file that is here already")
    parser.add_argument("--random", type=int, metavar="SEED", help="seeded random weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "weights")
    options = parser.parse_args()
    if options.checkpoint and len(options.names) > 1:
        parser.error("--checkpoint is of one network: give one NAME")
    if options.checkpoint and options.random is not None:
        parser.error("--checkpoint and --random exclude each other")
    for name in options.names:
        export(name, options)


def export(name, options):
    tensors, source = inception(options) if name == INCEPTION else trunk(TRUNKS.get(name, name), options)
    if name in TRUNKS:
        tensors = {f"trunk.{key}": tensor for key, tensor in tensors.items()}
        tensors.update(heads(name.removeprefix("lpips_")))
    tensors = {key: tensor.detach().float().contiguous() for key, tensor in sorted(tensors.items())}
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}.safetensors"
    unfinished = path.with_suffix(".unfinished")
    save_file(tensors, unfinished, metadata={"network": name, "source": source, "torchvision": torchvision.__version__})
    unfinished.replace(path)
    data = path.read_bytes()
    print(f"{path}: {len(tensors)} tensors, {len(data) / 2**20:.1f} MiB, sha256 {hashlib.sha256(data).hexdigest()}, from {source}")


def trunk(name, options):
    """The convolutions of a torchvision network: `features.*` without counters."""
    make = getattr(torchvision.models, name)
    if options.random is not None:
        torch.manual_seed(options.random)
        state, source = make(weights=None).state_dict(), f"random numbers of seed {options.random}"
    elif options.checkpoint:
        expected = {key: tensor for key, tensor in make(weights=None).state_dict().items() if key.startswith("features.")}
        state, source = checkpoint(options.checkpoint, name, expected), options.checkpoint.name
    else:
        try:
            state, source = make(weights="IMAGENET1K_V1").state_dict(), f"torchvision {name} IMAGENET1K_V1"
        except Exception as error:
            sys.exit(f"export_weights: torchvision could not fetch {name} ({error}); give its .pth file with --checkpoint")
    return {key: tensor for key, tensor in state.items() if key.startswith("features.") and not key.endswith("num_batches_tracked")}, source


def inception(options):
    """TensorFlow's network of 2015 in torchvision's layout, as pytorch-fid has it, without counters."""
    make = lambda: torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    if options.random is not None:
        torch.manual_seed(options.random)
        state, source = make().state_dict(), f"random numbers of seed {options.random}"
        for key, tensor in state.items():
            if key.endswith("conv.weight"):
                torch.nn.init.kaiming_normal_(tensor, nonlinearity="relu")
    elif options.checkpoint:
        expected = {key: tensor for key, tensor in make().state_dict().items() if not key.endswith("num_batches_tracked")}
        state, source = checkpoint(options.checkpoint, INCEPTION, expected), options.checkpoint.name
        state = {key: state[key] for key in expected}
    else:
        sys.exit(
            f"export_weights: {INCEPTION} takes --checkpoint pt_inception-2015-12-05-6726825d.pth, from the releases of "
            "pytorch-fid (where that has run, it is in torch's folder of checkpoints), or --random SEED"
        )
    return {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}, source


def checkpoint(path, name, expected):
    """The state of a .pth file that has all that is expected."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        sys.exit(f"export_weights: {path}: {str(error).splitlines()[0]}")
    is_state = isinstance(state, dict)
    wrong = [key for key, tensor in expected.items() if not is_state or key not in state or state[key].shape != tensor.shape]
    if wrong:
        sys.exit(f"export_weights: {path} is no checkpoint of {name}: {wrong[0]} is missing or of another shape")
    return state


def heads(net):
    try:
        import lpips
    except ImportError:
        sys.exit("export_weights: the heads are in the package lpips: pip install --no-deps lpips==0.1.4")
    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    return {f"lin.{i}.weight": getattr(model, f"lin{i}").model[-1].weight for i in range(5)}


if __name__ == "__main__":
    main()
