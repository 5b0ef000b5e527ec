"""Fails unless a file is a PNG picture with something on it."""

import sys

from matplotlib.image import imread

with open(sys.argv[1], "rb") as file:
    assert file.read(8) == b"\x89PNG\r\n\x1a\n", "not a PNG file"
picture = imread(sys.argv[1])
height, width = picture.shape[:2]
assert min(height, width) >= 300, (height, width)
assert picture[..., :3].std() > 0.02, "the picture is blank"
print(f"{sys.argv[1]}: {width} x {height} pixels")
