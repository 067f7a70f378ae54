"""The one reader of pictures: modes, depth, orientation, transparency, layouts of arrays."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.data.picture import decoded, looks_channels_last, scaled
from torchmoments_lab.data.records import RECORD, levels_of, picture_record


def saved(image, kind, **options):
    """The picture as it comes from a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


RED = Image.new("RGB", (40, 30), (204, 0, 0))
GREY = Image.new("L", (40, 30), 204)
COLOURS = {
    "rgb": (lambda: saved(RED, "PNG"), (204, 0, 0)),
    "alpha that hides nothing": (lambda: saved(RED.convert("RGBA"), "WEBP", lossless=True), (204, 0, 0)),
    "palette": (lambda: saved(RED.convert("P"), "GIF"), (204, 0, 0)),
    "palette, another colour transparent": (lambda: saved(RED.convert("P"), "PNG", transparency=0), (204, 0, 0)),
    "cmyk": (lambda: saved(Image.new("CMYK", (40, 30), (0, 255, 255, 51)), "TIFF"), (204, 0, 0)),
    "cmyk of a camera": (
        lambda: saved(Image.new("CMYK", (40, 30), (0, 255, 255, 51)), "JPEG", quality=100),
        (204, 0, 0),
    ),
    "ycbcr": (lambda: RED.convert("YCbCr"), (204, 0, 0)),
    "hsv": (lambda: RED.convert("HSV"), (204, 0, 0)),
    "grey": (lambda: saved(GREY, "PNG"), (204, 204, 204)),
    "grey with alpha": (lambda: saved(GREY.convert("LA"), "PNG"), (204, 204, 204)),
    "bits": (lambda: saved(Image.new("1", (40, 30), 1), "PNG"), (255, 255, 255)),
    "array of bytes": (lambda: np.full((30, 40), 204, np.uint8), (204, 204, 204)),
    "array in colour": (lambda: np.array(RED), (204, 0, 0)),
    "tensor, channels first": (lambda: torch.from_numpy(np.array(RED)).movedim(2, 0), (204, 0, 0)),
    "tensor of one channel": (lambda: torch.full((1, 30, 40), 204, dtype=torch.uint8), (204, 204, 204)),
    "mask": (lambda: torch.ones(30, 40, dtype=torch.bool), (255, 255, 255)),
}


@pytest.mark.parametrize("mode", COLOURS)
def test_eight_bits_of_any_mode_are_read_as_rgb(mode):
    make, colour = COLOURS[mode]
    image = decoded(make())
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert max(abs(one - other) for one, other in zip(image.getpixel((20, 15)), colour, strict=True)) <= 2
    assert decoded(image) is image


def half_transparent(mode):
    image = Image.new("RGBA", (4, 2), (204, 0, 0, 255))
    image.paste((0, 99, 0, 0), (0, 0, 1, 2))
    image.paste((0, 0, 0, 51), (1, 0, 2, 2))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_over_white(mode):
    image = decoded(saved(half_transparent(mode), "PNG"))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 0)) == (204, 204, 204)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_the_transparent_colour_of_a_palette_is_white(kind):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([0, 99, 0, 204, 0, 0])
    image.paste(1, (2, 0, 4, 2))
    read = decoded(saved(image, kind, transparency=0))
    assert [read.getpixel((x, 0)) for x in (0, 3)] == [(255, 255, 255), (204, 0, 0)]


def test_the_transparent_colour_of_a_picture_without_alpha_is_white():
    read = decoded(saved(Image.new("RGB", (4, 2), (0, 99, 0)), "PNG", transparency=(0, 99, 0)))
    assert read.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_stands_upright_as_its_camera_says(kind, deep):
    if deep and kind not in ("PNG", "TIFF"):
        return
    ramp = np.arange(40 * 30).reshape(30, 40)
    image = Image.fromarray(ramp.astype(np.uint16) if deep else (ramp % 256).astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    read = np.asarray(decoded(saved(image, kind, exif=exif)))
    assert read.shape[:2] == (40, 30)
    if kind in ("PNG", "TIFF"):
        assert np.array_equal(read if deep else read[..., 0], np.rot90(np.asarray(image), -1))


def test_a_picture_of_a_dataset_stands_upright_too():
    """torchvision's ImageFolder converts to RGB, and leaves the turn to whoever reads on."""
    exif = RED.getexif()
    exif[0x0112] = 6
    opened = saved(RED, "JPEG", exif=exif).convert("RGB")
    assert decoded(opened).size == (30, 40)
    assert decoded(decoded(opened)).size == (30, 40)


def test_a_damaged_note_of_a_camera_does_not_hide_a_whole_picture():
    for kind in ("JPEG", "PNG", "WEBP"):
        for damaged in (b"Exif\0\0of another kind", b"MM\0*\0\0"):
            assert decoded(saved(RED, kind, exif=damaged)).size == (40, 30)


DEEP = {
    "16-bit PNG": (np.uint16, lambda values: saved(Image.fromarray(values), "PNG")),
    "16-bit TIFF": (np.uint16, lambda values: saved(Image.fromarray(values), "TIFF")),
    "16-bit TIFF, big-endian": (
        np.uint16,
        lambda values: Image.frombytes("I;16B", (5, 4), values.astype(">u2").tobytes()),
    ),
    "32-bit TIFF": (np.int32, lambda values: saved(Image.fromarray(values), "TIFF")),
    "float TIFF": (np.float32, lambda values: saved(Image.fromarray(values), "TIFF")),
    "array of 16 bits": (np.uint16, lambda values: values),
    "tensor of 64 bits": (np.int64, lambda values: torch.from_numpy(values)[None]),
    "array of signed bytes": (np.int8, lambda values: values),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_pictures_keep_their_values(kind):
    dtype, make = DEEP[kind]
    highest = min(4095, np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 4095)
    values = np.linspace(0, highest, 20).reshape(4, 5).astype(dtype)
    read = decoded(make(values))
    assert isinstance(read, np.ndarray)
    assert np.array_equal(read, values)
    assert np.array_equal(decoded(read), values)
    x = scaled(read, (0, highest))
    assert (x.shape, x.dtype) == ((3, 4, 5), torch.float32)
    torch.testing.assert_close(x[1], torch.from_numpy(values * (255 / highest)).float())


def test_deep_colours_keep_their_channels():
    values = np.arange(60).reshape(4, 5, 3).astype(np.uint16) * 100
    x = scaled(decoded(values), (0, 5900))
    torch.testing.assert_close(x[2], torch.from_numpy(values[..., 2] * (255 / 5900)).float())


def records(*pictures):
    return np.array([picture_record(picture) for picture in pictures], RECORD)


def test_black_and_white_are_what_the_pictures_hold():
    twelve_bits = np.array([[100, 4000]], np.uint16)
    hounsfield = np.array([[-1000, 3000]], np.int16)
    assert levels_of(records(twelve_bits, twelve_bits // 2)) == (50, 4000)
    assert levels_of(records(twelve_bits * 16)) == (1600, 64000)
    assert levels_of(records(hounsfield, twelve_bits)) == (-1000, 4000)
    assert levels_of(records(np.float32([[0.25, 200.5]]))) == (0.25, 200.5)
    assert levels_of(records(np.int64([[0, 16]]))) == (0, 16)
    assert levels_of(records(np.int8([[-100, 100]]))) == (-100, 100)
    assert levels_of(records(np.uint8([[0, 16]]))) is None


def test_hot_and_dead_pixels_do_not_decide_what_is_black_and_white():
    values = np.random.default_rng(0).integers(1000, 2000, (50, 60)).astype(np.uint16)
    values[3, 4], values[5, 6], values[7, 8] = 65535, 60000, 0
    low, high = levels_of(records(values))
    assert 1000 <= low < 1010
    assert 1990 < high < 2000
    assert scaled(values, (low, high)).max() > 255


def test_eight_bits_in_a_wider_type_are_eight_bits():
    for dtype in (np.uint16, np.int32, np.float32):
        values = np.array([[3, 250]], dtype)
        assert levels_of(records(values)) == (0, 255)
        assert torch.equal(scaled(decoded(values), (0, 255))[0], torch.tensor([[3.0, 250.0]]))


def test_times_sixteen_and_plus_an_offset_change_nothing():
    values = np.random.default_rng(0).integers(900, 4096, (6, 7)).astype(np.uint16)
    one, other = (scaled(decoded(v), levels_of(records(v))) for v in (values, values * 16 - 200))
    torch.testing.assert_close(one, other)


def test_the_record_of_a_picture_does_not_depend_on_its_file():
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    found = records(image, saved(image, "PNG"), saved(image, "TIFF"), array, torch.from_numpy(array).movedim(2, 0))
    assert len(np.unique(found)) == 1
    assert found[0]["digest"] != records(np.roll(array, 1))[0]["digest"]
    assert found[0]["digest"] != records(array.reshape(30, 20, 3))[0]["digest"]
    assert bool(found[0]["colour"])
    grey = records(Image.fromarray(array[..., 0]), Image.fromarray(array[..., 0]).convert("RGB"))
    assert not grey["colour"].any()


def tiff_of_16_bits_a_colour(values):
    """A file as microscopes write it: Pillow writes no such thing."""
    height, width, _ = values.shape
    pixels = values.astype("<u2").tobytes()
    entries = {256: width, 257: height, 258: 122, 259: 1, 262: 2, 273: 128, 277: 3, 278: height, 279: len(pixels)}
    file = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, value in entries.items():
        file += struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
    file += struct.pack("<I", 0)
    return file + bytes(122 - len(file)) + struct.pack("<HHH", 16, 16, 16) + pixels


def test_16_bits_a_colour_of_which_pillow_reads_eight_are_told():
    image = Image.open(io.BytesIO(tiff_of_16_bits_a_colour(np.full((4, 5, 3), 4000))))
    record = picture_record(image)
    assert bool(record["cut"])
    assert record["high"] == 4000 // 256
    assert not picture_record(saved(RED, "PNG"))["cut"]
    assert not picture_record(saved(Image.fromarray(np.full((4, 5), 4000, np.uint16)), "PNG"))["cut"]


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (np.zeros((5, 6, 7), np.uint8), r"1, 3 or 4 channels; got \[5, 6, 7\]"),
        (np.zeros(5, np.uint8), r"1, 3 or 4 channels; got \[5\]"),
        (np.zeros((5, 6, 4), np.uint16), "need 1 or 3 channels; got 4"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(picture, sentence):
    with pytest.raises(ValueError, match=sentence):
        decoded(picture)


def test_where_both_ends_may_be_channels_tensors_have_them_first_and_arrays_last():
    values = np.zeros((3, 20, 4), np.uint8)
    assert decoded(values).size == (20, 3)
    assert decoded(torch.from_numpy(values)).size == (4, 20)


def test_channels_that_come_last_are_told_by_the_shape():
    assert all(map(looks_channels_last, [(32, 32, 3), (28, 28, 1), (64, 48, 4)]))
    assert not any(map(looks_channels_last, [(3, 32, 32), (1, 28, 28), (16, 50, 1), (3, 32, 3), (64, 7, 7), (32, 32)]))
