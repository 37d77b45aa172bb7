"""Image files as people have them, made by Pillow or by hand: no code of ours writes or reads them here.

`GOOD` are shown, `REFUSED` are not; both map a name to bytes. `shown` is what Pillow shows of them.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

HEIGHT, WIDTH = 37, 53  # odd: rows are filled up in BMP, blocks cut in JPEG, colours halved unevenly
ORIENTATION = 0x0112


def picture(height=HEIGHT, width=WIDTH):
    """Smooth colours, no symmetry: turned or mirrored, it is another picture."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height)], -1).astype(np.uint8)
    )


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def shown(data, channels=3, turned=True):
    """What Pillow shows: uint8 `(h, w, channels)`."""
    image = Image.open(io.BytesIO(data))
    image = ImageOps.exif_transpose(image) if turned else image
    return np.asarray(image.convert("RGB").convert("RGB" if channels == 3 else "L")).reshape(
        image.height, image.width, channels
    )


RGB = picture()
GREY = RGB.convert("L")
PALETTE = RGB.quantize(64)
CMYK = RGB.convert("CMYK")
ALPHA = Image.fromarray((np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 5 * 63).astype(np.uint8))
RGBA = RGB.copy()
RGBA.putalpha(ALPHA)
OTHER = picture().rotate(180)


def exif(orientation, order=None, kind=3):
    """An EXIF block; with `order` and `kind` (3: short, 4: long) written by hand behind another tag."""
    if order is None:
        block = Image.Exif()
        block[ORIENTATION] = orientation
        return block
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 12) + b"\xaa" * 4  # the tags start at 12
    value = struct.pack(order + "I" if kind == 4 else order + "HH", *([orientation] if kind == 4 else [orientation, 0]))
    tags = struct.pack(order + "HHII", 0x0100, 4, 1, 53) + struct.pack(order + "HHI", ORIENTATION, kind, 1) + value
    return b"Exif\0\0" + head + struct.pack(order + "H", 2) + tags + struct.pack(order + "I", 0)


# JPEG


def segment(letter, content):
    return bytes([0xFF, letter]) + struct.pack(">H", len(content) + 2) + content


def with_segments(data, *segments):
    """A JPEG with more segments behind its start."""
    return data[:2] + b"".join(segments) + data[2:]


def without_adobe(data):
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def as_ycck(cmyk):
    """Ink C, M, Y as if it were red, green, blue, converted to YCC; K as it is."""
    cyan, magenta, yellow, black = cmyk.split()
    ycc = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    inverted = [part.point(lambda value: 255 - value) for part in ycc]  # Pillow inverts what it saves as CMYK
    data = bytearray(saved(Image.merge("CMYK", (*inverted, black)), "JPEG", quality=95, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2  # the marker's transform: 0 is CMYK, 2 is YCCK
    return bytes(data)


JPEG = saved(RGB, "JPEG", quality=95)
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(256)) * 40  # as a phone's motion photo has it

JPEGS = {
    "plain": JPEG,
    "4-2-0": saved(RGB, "JPEG", subsampling=2),
    "4-4-4": saved(RGB, "JPEG", subsampling=0),
    "progressive": saved(RGB, "JPEG", progressive=True),
    "grey": saved(GREY, "JPEG"),
    "stored as RGB": saved(RGB, "JPEG", keep_rgb=True),
    "CMYK": saved(CMYK, "JPEG", quality=95),
    "CMYK without Adobe's marker": without_adobe(saved(CMYK, "JPEG", quality=95)),
    "YCCK": as_ycck(CMYK),
    "CMYK turned": saved(CMYK, "JPEG", exif=exif(6)),
    "restart markers": saved(RGB, "JPEG", restart_marker_blocks=3),
    "colour profile": saved(RGB, "JPEG", icc_profile=bytes(100_000)),
    "motion photo": JPEG + VIDEO,
    "zeros behind": JPEG + bytes(5000),
    "a second JPEG behind": JPEG + JPEG,
    "multi-picture (MPO)": saved(RGB, "MPO", save_all=True, append_images=[OTHER]),
    **{f"orientation {k}": saved(RGB, "JPEG", exif=exif(k)) for k in range(2, 9)},
    "orientation 6, progressive grey": saved(GREY, "JPEG", exif=exif(6), progressive=True),
    "orientation 5, big-endian": with_segments(JPEG, segment(0xE1, exif(5, ">"))),
    "orientation 7, as a long": with_segments(JPEG, segment(0xE1, exif(7, "<", kind=4))),
    "orientation behind other segments": with_segments(
        JPEG, segment(0xFE, b"Exif\0\0 is what this comment is about"), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
        b"\xff\xff", segment(0xE1, exif(8, "<")),
    ),
    "orientation in the thumbnail's place alone": with_segments(JPEG, segment(0xE2, exif(6, "<"))),
    "orientation 9": with_segments(JPEG, segment(0xE1, exif(9, "<"))),
    "one pixel": saved(picture(1, 1), "JPEG"),
}  # fmt: skip


# PNG


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_16_bits(image):
    """An RGB image whose lower eight bits are 77 everywhere."""
    pixels = (np.asarray(image).astype(">u2") * 256 + 77).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def interlaced_png(image):
    """Adam7, by hand: Pillow reads it and does not write it."""
    pixels, rows = np.asarray(image), b""
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)):  # fmt: skip
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[top::down, left::right])
    head = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif_at_the_end(data, orientation):
    """A PNG whose EXIF comes behind its pixels."""
    return data[:-12] + chunk(b"eXIf", exif(orientation, ">")[6:]) + data[-12:]


PNG = saved(RGB, "PNG")
PNGS = {
    "plain": PNG,
    "grey": saved(GREY, "PNG"),
    "black and white": saved(RGB.convert("1"), "PNG"),
    "palette": saved(PALETTE, "PNG"),
    "palette of 2 bits": saved(RGB.quantize(4), "PNG", bits=2),
    "palette with transparency": saved(PALETTE, "PNG", transparency=bytes(range(0, 256, 4))),
    "colours and transparency": saved(RGBA, "PNG"),
    "grey and transparency": saved(RGBA.convert("LA"), "PNG"),
    "one transparent colour": saved(RGB, "PNG", transparency=(0, 0, 0)),
    "one transparent grey": saved(GREY, "PNG", transparency=7),
    "16 bits": png_of_16_bits(RGB),
    "interlaced": interlaced_png(RGB),
    "animated": saved(RGB, "PNG", save_all=True, append_images=[OTHER]),
    "gamma": PNG[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + PNG[33:],
    "text behind": PNG + b"some text" * 99,
    "orientation 6": saved(RGB, "PNG", exif=exif(6)),
    "orientation 3 behind the pixels": exif_at_the_end(PNG, 3),
    "palette, orientation 5": saved(PALETTE, "PNG", exif=exif(5)),
}


# GIF


def small_frame_gif(transparent=None, own_palette=False):
    """A frame of 53x37 at (7, 5) on a canvas of 70x50, with the frame of a still GIF."""
    still = saved(RGB.quantize(16), "GIF", interlace=0)
    size = 3 * 2 ** (still[10] % 8 + 1)
    head, palette, rest = still[:13], still[13 : 13 + size], still[13 + size :]
    picture_at = rest.index(b",\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
    descriptor, pixels = bytearray(rest[picture_at : picture_at + 10]), rest[picture_at + 10 :]
    descriptor[1:5] = struct.pack("<HH", 7, 5)
    head = bytearray(head)
    head[6:10] = struct.pack("<HH", 70, 50)
    if own_palette:
        descriptor[9] |= 0x80 | head[10] % 8
        head[10] &= 0x7F
        palette, pixels = b"", palette + pixels
    control = b"" if transparent is None else b"\x21\xf9\x04\x01\0\0" + bytes([transparent, 0])
    return bytes(head) + palette + b"\x21\xfe\x03abc\0" + control + bytes(descriptor) + pixels


GIFS = {
    "plain": saved(RGB.quantize(), "GIF"),
    "grey": saved(GREY, "GIF"),
    "black and white": saved(RGB.convert("1"), "GIF"),
    "interlaced": saved(PALETTE, "GIF", interlace=1),
    "not interlaced": saved(PALETTE, "GIF", interlace=0),
    "transparency": saved(PALETTE, "GIF", transparency=3),
    "animated": saved(PALETTE, "GIF", save_all=True, append_images=[OTHER.quantize(64)], duration=50, loop=0),
    "animated, last frame cut off": saved(
        PALETTE, "GIF", save_all=True, append_images=[OTHER.quantize(64)], duration=50, comment=b"c" * 300
    )[:-400],
    "frame on a canvas": small_frame_gif(),
    "frame on a transparent canvas": small_frame_gif(transparent=9),
    "frame with its own palette": small_frame_gif(transparent=4, own_palette=True),
    "no size of its own": saved(PALETTE, "GIF")[:6] + b"\0\0\0\0" + saved(PALETTE, "GIF")[10:],
}


# BMP


def bmp(bits, rows, *, palette=b"", header=40, masks=b"", top_down=False, colours=0, compression=None, offset=None):
    """A BMP by hand; rows `(h, bytes)` from the top, filled up to four bytes here."""
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    height = -len(rows) if top_down else len(rows)
    if header == 12:
        info = struct.pack("<IHHHH", 12, WIDTH, height, 1, bits)
    else:
        compression = (3 if masks else 0) if compression is None else compression
        info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, 0, 0, 0, colours, 0)
        inside = masks.ljust(header - 40, b"\0") if header > 40 else b""
        info, masks = info + inside, masks if header == 40 else b""
    start = 14 + len(info) + len(masks) + len(palette) if offset is None else offset
    pixels = (rows if top_down else rows[::-1]).tobytes()
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + info + masks + palette + pixels


def bmp_of_palette(bits, **options):
    image = RGB.quantize(2**bits)
    colours = np.zeros((2**bits, 4), np.uint8)
    given = np.asarray(image.getpalette()[: 3 * 2**bits], np.uint8).reshape(-1, 3)
    colours[: len(given), :3] = given[:, ::-1]
    indices = np.asarray(image)
    each = 8 // bits
    indices = np.pad(indices, ((0, 0), (0, -WIDTH % each))).reshape(HEIGHT, -1, each)
    rows = sum(indices[..., k].astype(np.uint8) << (8 - bits * (k + 1)) for k in range(each)).astype(np.uint8)
    colours = colours[:, :3] if options.get("header") == 12 else colours
    return bmp(bits, rows, palette=colours.tobytes(), **options)


def bmp_of_16_bits(red, green, blue, **options):
    """Bits of each colour, from the upper end."""
    pixels = np.asarray(RGB).astype(np.uint16)
    value = (pixels[..., 0] >> 8 - red << green + blue) | (pixels[..., 1] >> 8 - green << blue)
    value |= pixels[..., 2] >> 8 - blue
    return bmp(16, np.ascontiguousarray(value.astype("<u2")).view(np.uint8).reshape(HEIGHT, -1), **options)


def bmp_of_32_bits(order, **options):
    """The bytes of a pixel by the letters of `order`, x for one of no use."""
    channels = {"r": 0, "g": 1, "b": 2}
    pixels = np.full((HEIGHT, WIDTH, len(order)), 99, np.uint8)
    for place, letter in enumerate(order):
        if letter in channels:
            pixels[..., place] = np.asarray(RGB)[..., channels[letter]]
    return bmp(8 * len(order), pixels.reshape(HEIGHT, -1), **options)


def masks_of(order):
    return struct.pack("<III", *(255 << 8 * order.index(letter) for letter in "rgb"))


BMPS = {
    "plain": saved(RGB, "BMP"),
    "grey": saved(GREY, "BMP"),
    "black and white": saved(RGB.convert("1"), "BMP"),
    "palette, by Pillow": saved(RGB.quantize(200), "BMP"),
    **{f"palette of {bits} bits": bmp_of_palette(bits) for bits in (1, 4, 8)},
    "palette of 8 bits, top down": bmp_of_palette(8, top_down=True),
    "palette of 4 bits, OS/2": bmp_of_palette(4, header=12),
    "palette of 8 bits, its size not counted": bmp_of_palette(8, offset=54),
    "16 bits": bmp_of_16_bits(5, 5, 5),
    "16 bits, 5-6-5": bmp_of_16_bits(5, 6, 5, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
    "16 bits, 5-6-5, large header": bmp_of_16_bits(5, 6, 5, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F), header=124),
    "24 bits, top down": bmp_of_32_bits("bgr", top_down=True),
    "24 bits, OS/2": bmp_of_32_bits("bgr", header=12),
    "32 bits": bmp_of_32_bits("bgrx"),
    "32 bits and transparency": saved(RGBA, "BMP"),
    "32 bits, masks": bmp_of_32_bits("xbgr", masks=masks_of("xbgr")),
    "32 bits, masks in a large header": bmp_of_32_bits(
        "rgbx", masks=masks_of("rgbx") + struct.pack("<I", 255 << 24), header=108
    ),
}  # fmt: skip


# WebP


def tall_frame_webp():
    """An animation whose first frame is smaller than its canvas, which Pillow never writes."""
    data = bytearray(saved(RGBA, "WEBP", save_all=True, append_images=[OTHER.convert("RGBA")], lossless=True))
    data[24:27] = (WIDTH + 10 - 1).to_bytes(3, "little")
    data[27:30] = (HEIGHT + 8 - 1).to_bytes(3, "little")
    frame = data.index(b"ANMF") + 8
    data[frame : frame + 3], data[frame + 3 : frame + 6] = (2).to_bytes(3, "little"), (3).to_bytes(3, "little")
    return bytes(data)


WEBPS = {
    "lossy": saved(RGB, "WEBP"),
    "lossless": saved(RGB, "WEBP", lossless=True),
    "lossy and transparency": saved(RGBA, "WEBP"),
    "lossless and transparency": saved(RGBA, "WEBP", lossless=True, exact=True),
    "animated, lossy": saved(RGB, "WEBP", save_all=True, append_images=[OTHER]),
    "animated, lossless": saved(RGB, "WEBP", save_all=True, append_images=[OTHER], lossless=True),
    "animated, lossy and transparency": saved(RGBA, "WEBP", save_all=True, append_images=[OTHER.convert("RGBA")]),
    "animated on a larger canvas": tall_frame_webp(),
    "orientation 6": saved(RGB, "WEBP", exif=exif(6)),
    "animated, orientation 8": saved(RGB, "WEBP", save_all=True, append_images=[OTHER], exif=exif(8)),
    "zeros behind": saved(RGB, "WEBP") + bytes(99),
}

FORMATS = {"JPEG": JPEGS, "PNG": PNGS, "GIF": GIFS, "BMP": BMPS, "WebP": WEBPS}
GOOD = {f"{name} {case}": data for name, cases in FORMATS.items() for case, data in cases.items()}


# What is refused, and why


def cut(data, share=0.5):
    return data[: int(len(data) * share)]


def png_bomb(side=20_000):
    """A PNG of a few hundred kB that says 20,000 x 20,000 pixels."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes((side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_of_sides(height, width):
    """A small JPEG whose header says another size."""
    data = bytearray(JPEG)
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_of_sides(side):
    data = bytearray(saved(RGBA, "WEBP", save_all=True, append_images=[OTHER.convert("RGBA")]))
    data[24:30] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


def flipped(data, share=0.6):
    """The bytes of the middle tenth turned over."""
    start, stop = int(len(data) * share), int(len(data) * (share + 0.1))
    return data[:start] + bytes(255 - value for value in data[start:stop]) + data[stop:]


DAMAGED, TOO_LARGE, FOREIGN = "damaged or cut short", "too large", "not supported"
BOMBS = {
    "PNG of 20,000 x 20,000": png_bomb(),
    "JPEG of 60,000 x 60,000": jpeg_of_sides(60_000, 60_000),
    "GIF of 60,000 x 60,000": GIFS["plain"][:6] + struct.pack("<HH", 60_000, 60_000) + GIFS["plain"][10:],
    "BMP of 60,000 x 60,000": BMPS["plain"][:18] + struct.pack("<II", 60_000, 60_000) + BMPS["plain"][26:],
    "WebP of 16,000,000 x 16,000,000": webp_of_sides(16_000_000),
}
REFUSED = {
    **{f"{name} cut": (cut(cases[next(iter(cases))]), DAMAGED) for name, cases in FORMATS.items()},
    **{f"{name} head alone": (cases[next(iter(cases))][:20], DAMAGED) for name, cases in FORMATS.items()},
    "JPEG cut and ended": (cut(JPEG) + b"\xff\xd9", DAMAGED),
    "JPEG start alone": (b"\xff\xd8\xff", DAMAGED),
    "PNG turned over in its middle": (flipped(PNG), DAMAGED),
    "WebP animation cut in its first frame": (cut(WEBPS["animated, lossless"], 0.2), DAMAGED),
    "GIF cut in its first frame": (cut(GIFS["animated"], 0.3), DAMAGED),
    "GIF without a picture": (GIFS["plain"][:13] + b";", DAMAGED),
    "BMP of no pixels": (BMPS["plain"][:18] + bytes(8) + BMPS["plain"][26:], DAMAGED),
    "BMP without an end": (BMPS["palette of 4 bits"][:-30], DAMAGED),
    "BMP of run lengths": (bmp(8, np.zeros((HEIGHT, WIDTH), np.uint8), palette=bytes(1024), compression=1), FOREIGN),
    **{name: (data, TOO_LARGE) for name, data in BOMBS.items()},
    **{f"{kind} named .png": (saved(RGB, kind), FOREIGN) for kind in ("TIFF", "AVIF", "JPEG2000", "ICO")},
    "nothing": (b"", "empty"),
    "text": (b"404 Not Found" * 9, "no JPEG, PNG, GIF, BMP or WebP image"),
    "two bytes": (b"BM", DAMAGED),
}  # fmt: skip

# EXIF data that say nothing of the orientation.
BAD_EXIF = {
    "empty": b"",
    "a header alone": b"II*\0\x08\0\0\0",
    "tags behind the end": b"II*\0" + struct.pack("<I", 2**31 - 1) + bytes(20),
    "tags before the start": b"II*\0" + struct.pack("<i", -5) + bytes(20),
    "more tags than there are": exif(6, "<")[6:14] + b"\xaa" * 4 + b"\xff\xff" + bytes(12),
    "an unknown order": b"XX*\0" + exif(6, "<")[10:],
    "orientation 0": exif(0, "<")[6:],
    "orientation 300": exif(300, ">")[6:],
}


def wrong_pixels(read, kind, grey_levels):
    """The good files of a kind that `read(data, channels) -> (pixels, reason)` does not give as Pillow shows them."""
    wrong = {}
    for case, data in FORMATS[kind].items():
        for channels, levels in ((3, 0), (1, grey_levels if kind == "JPEG" else 0)):
            image, reason = read(data, channels)
            expected = shown(data, channels)
            image = image if image is None else np.asarray(image)
            if image is None or image.shape != expected.shape or image.dtype != np.uint8:
                wrong[case, channels] = reason or image.shape
            elif (difference := np.abs(image.astype(int) - expected).max()) > levels:
                wrong[case, channels] = difference
    return wrong


def wrong_refusals(read):
    """The bad files that `read` takes, or refuses for another reason than they have."""
    wrong = {}
    for case, (data, expected) in REFUSED.items():
        image, reason = read(data, 3)
        if image is not None or expected not in reason:
            wrong[case] = reason
    return wrong
