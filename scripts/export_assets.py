#!/usr/bin/env python3
"""Makes examples/assets from the files inside the scikit-learn and scikit-image wheels.

    python scripts/export_assets.py [--out examples/assets]

Needs numpy, pillow, scikit-image and scikit-learn; made with pillow 13.0, scikit-image 0.26.0 and
scikit-learn 1.9.1. The same versions give the same bytes.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 256
QUALITY = 82

# Held-out photographs come last; no photograph is in both splits.
# split, file, crop (left, top, right, bottom), what, author, licence, source
ASTRONAUT = (
    "Eileen Collins, astronaut",
    "NASA",
    "public domain (no known copyright restrictions)",
    "NASA Great Images database, flic.kr/p/r9qvLn",
)
CHELSEA = ("Chelsea the cat", "Stefan van der Walt", "CC0 1.0", "scikit-image")
COFFEE = (
    "coffee cup, courtesy of Pikolo Espresso Bar",
    "Rachel Michetti",
    "CC0 1.0",
    "scikit-image",
)
PHOTOS = [
    ("train", "astronaut.png", (0, 0, 330, 330), *ASTRONAUT),
    ("train", "astronaut.png", (200, 200, 512, 512), *ASTRONAUT),
    ("train", "brick.png", (0, 0, 400, 400), "brick wall", "CC0 Textures", "CC0 1.0", "Bricks25"),
    ("train", "chelsea.png", (0, 0, 256, 256), *CHELSEA),
    ("train", "chelsea.png", (171, 20, 451, 300), *CHELSEA),
    (
        "train",
        "clock_motion.png",
        (50, 0, 350, 300),
        "wall clock, blurred by motion",
        "Stefan van der Walt",
        "public domain (released by the photographer)",
        "scikit-image",
    ),
    ("train", "coffee.png", (0, 0, 330, 330), *COFFEE),
    ("train", "coffee.png", (230, 60, 570, 400), *COFFEE),
    ("train", "gravel.png", (0, 0, 300, 300), "gravel", "CC0 Textures", "CC0 1.0", "Gravel04"),
    (
        "train",
        "hubble_deep_field.jpg",
        (200, 150, 700, 650),
        "Hubble eXtreme Deep Field",
        "NASA",
        "public domain (NASA media guidelines)",
        "HubbleSite, release 2012-37",
    ),
    ("val", "camera.png", (60, 40, 460, 440), "cameraman", "Lav Varshney", "CC0 1.0", "scikit-image"),
    ("val", "grass.png", (0, 0, 300, 300), "grass", "linolafett", "CC0 1.0", "DeviantArt, Grass-01"),
    (
        "val",
        "retina.jpg",
        (250, 250, 1150, 1150),
        "fundus photograph of a left eye",
        "Mikael Häggström",
        "CC0 1.0",
        "Wikimedia Commons; doi 10.15347/wjm/2014.008",
    ),
    (
        "val",
        "rocket.jpg",
        (107, 0, 534, 427),
        "Falcon 9 with DSCOVR before launch",
        "SpaceX",
        "public domain (released by SpaceX)",
        "SpaceX Photos, flickr 16511594820",
    ),
]

ATTRIBUTION = """\
# Where these files come from

Made by `scripts/export_assets.py` from the scikit-learn and scikit-image wheels. The licence of the
digits is the one that the UCI repository states, those of the photographs are in the documentation of
`skimage.data`.

## digits.png

The 1,797 digits of the test part of *Optical Recognition of Handwritten Digits*, in their original
order. Row i of the image is digit i: one pixel with the class (0 to 9), then 8 x 8 pixels with the ink
(0 to 16), row by row.

E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi 10.24432/C50P49.
Licence: CC BY 4.0. Changed only in its file format.

## photos/

Square crops, resized to {side} x {side} pixels and compressed as JPEG.

| file | what | author | licence | source |
|---|---|---|---|---|
{rows}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=root / "examples" / "assets")
    out = parser.parse_args().out
    photos = out / "photos"
    shutil.rmtree(photos, ignore_errors=True)
    photos.mkdir(parents=True)

    digits = load_digits()
    sheet = np.concatenate([digits.target[:, None], digits.data], axis=1).astype(np.uint8)
    assert sheet.shape == (1797, 65) and sheet[:, 1:].max() == 16
    Image.fromarray(sheet).save(out / "digits.png", optimize=True)

    rows = []
    seen = {}
    for split, file, box, what, author, licence, source in PHOTOS:
        image = Image.open(Path(skimage.__file__).parent / "data" / file)
        image = image.convert("L" if image.mode == "L" else "RGB")
        image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)
        stem = f"{split}-{Path(file).stem.split('_')[0]}"
        seen[stem] = seen.get(stem, 0) + 1
        name = f"{stem}-{seen[stem]}.jpg"
        image.save(photos / name, quality=QUALITY, optimize=True)
        rows.append(f"| {name} | {what} | {author} | {licence} | {source} |")
    text = ATTRIBUTION.format(side=SIDE, rows="\n".join(rows))
    (out / "ATTRIBUTION.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
