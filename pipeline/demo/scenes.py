"""Pictures drawn from a seed: landscapes, towns, still lifes, mosaics, weaves, clouds."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 480, 360
Rng = np.random.Generator
Colour = tuple[int, int, int]


def draw_scene(seed: int) -> Image.Image:
    """Returns an RGB picture of 480x360."""
    rng = np.random.default_rng(seed)
    picture = SCENES[seed % len(SCENES)](rng)
    return _grain(picture, rng)


def landscape(rng: Rng) -> Image.Image:
    picture = _gradient(_colour(rng, 150, 250), _colour(rng, 90, 200))
    draw = ImageDraw.Draw(picture)
    _disc(
        draw, rng.uniform(60, WIDTH - 60), rng.uniform(30, 120), rng.uniform(14, 34), _colour(rng, 200, 255)
    )
    for depth in range(4):
        ridge = _ridge(rng, base=150 + depth * 50, height=60 - depth * 8)
        draw.polygon(
            [(0, HEIGHT), *ridge, (WIDTH, HEIGHT)], fill=_colour(rng, 30 + depth * 10, 170 - depth * 30)
        )
    return picture


def town(rng: Rng) -> Image.Image:
    picture = _gradient(_colour(rng, 40, 220), _colour(rng, 120, 255))
    draw = ImageDraw.Draw(picture)
    left = -10.0
    while left < WIDTH:
        width, top = rng.uniform(30, 80), rng.uniform(60, 250)
        draw.rectangle((left, top, left + width, HEIGHT), fill=_colour(rng, 30, 190))
        _windows(draw, rng, left, top, width)
        left += width + rng.uniform(-6, 10)
    return picture


def still_life(rng: Rng) -> Image.Image:
    picture = _gradient(_colour(rng, 160, 240), _colour(rng, 120, 220))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 250, WIDTH, HEIGHT), fill=_colour(rng, 60, 160))
    for _ in range(int(rng.integers(4, 9))):
        x, size = rng.uniform(40, WIDTH - 40), rng.uniform(22, 60)
        _disc(draw, x + 8, 292, size * 0.9, (40, 35, 35))
        _disc(draw, x, 280 - size * 0.4, size, _colour(rng, 60, 250))
        _disc(draw, x - size / 3, 265 - size * 0.6, size / 5, (250, 250, 245))
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def mosaic(rng: Rng) -> Image.Image:
    points = rng.uniform((0, 0), (WIDTH, HEIGHT), size=(int(rng.integers(18, 60)), 2))
    colours = rng.integers(20, 240, size=(len(points), 3))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    distance = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    return Image.fromarray(colours[distance.argmin(axis=-1)].astype(np.uint8))


def weave(rng: Rng) -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 60.0
    angle, bend = rng.uniform(0, math.pi), rng.uniform(0, 1.2)
    wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * rng.uniform(2, 7) + bend * np.sin(y * 2))
    return _blend(wave * 0.5 + 0.5, _colour(rng, 10, 140), _colour(rng, 120, 250))


def clouds(rng: Rng) -> Image.Image:
    total = np.zeros((HEIGHT, WIDTH))
    for octave in range(2, 7):
        cells = rng.random((2**octave, 2**octave)).astype(np.float32)
        layer = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        total += np.asarray(layer) / 2 ** (octave - 2)
    total = (total - total.min()) / np.ptp(total)
    return _blend(total, _colour(rng, 0, 140), _colour(rng, 130, 255))


SCENES: tuple[Callable[[Rng], Image.Image], ...] = (landscape, town, still_life, mosaic, weave, clouds)


def _colour(rng: Rng, low: int, high: int) -> Colour:
    red, green, blue = rng.integers(low, high, size=3)
    return int(red), int(green), int(blue)


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    return _blend(np.repeat(np.linspace(0, 1, HEIGHT)[:, None], WIDTH, axis=1), top, bottom)


def _blend(weight: np.ndarray, first: Colour, second: Colour) -> Image.Image:
    rgb = np.asarray(first) * (1 - weight[..., None]) + np.asarray(second) * weight[..., None]
    return Image.fromarray(rgb.astype(np.uint8))


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _ridge(rng: Rng, *, base: float, height: float) -> list[tuple[float, float]]:
    waves = [(rng.uniform(0.005, 0.03), rng.uniform(0, 6), height / (n + 1)) for n in range(3)]
    return [
        (x, base + sum(size * math.sin(x * pace + start) for pace, start, size in waves))
        for x in range(0, WIDTH + 8, 8)
    ]


def _windows(draw: ImageDraw.ImageDraw, rng: Rng, left: float, top: float, width: float) -> None:
    lit, dark = _colour(rng, 180, 255), _colour(rng, 10, 60)
    for y in np.arange(top + 8, HEIGHT - 12, 18):
        for x in np.arange(left + 6, left + width - 8, 14):
            draw.rectangle((x, y, x + 7, y + 9), fill=lit if rng.random() < 0.4 else dark)


def _grain(picture: Image.Image, rng: Rng) -> Image.Image:
    # A camera's noise: without it, recompression would change nothing that a descriptor could mind.
    noise = rng.normal(0, 5, size=(HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
