"""Which format a file is, by its first bytes. Nothing is parsed, so nothing can be exploited.

The formats that are decoded have exactly the signatures that Pillow accepts. The rest are there so that an
operator reads "PSD is not one of ..." and not "not an image".
"""

import re

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # multi-picture JPEG of phones is JPEG

# In order; a pattern is matched at the first byte.
_PATTERNS = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("JPEG", rb"\xff\xd8\xff"),
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("WEBP", rb"RIFF....WEBP"),
        ("GIF", rb"GIF8[79]a"),
        ("BMP", rb"BM"),
        ("TIFF", rb"II\*\0|MM\0\*|II\0\*|MM\*\0|II\+\0|MM\0\+"),
        ("AVIF", rb"....ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,16}?avi[fs])"),
        ("HEIF", rb"....ftyp(?:hei[cxms]|hev[cxms]|mif[12]|msf1)"),
        ("JPEG 2000", rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
        ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
        ("JPEG XR", rb"II\xbc\x01"),
        ("PSD", rb"8BPS"),
        ("DDS", rb"DDS "),
        ("ICNS", rb"icns"),
        ("ICO", rb"\0\0\x01\0[^\0]"),
        ("CUR", rb"\0\0\x02\0[^\0]"),
        ("QOI", rb"qoif"),
        ("BLP", rb"BLP[12]"),
        ("FTEX", rb"FTEX|FTU[CL]"),
        ("FITS", rb"SIMPLE"),
        ("OpenEXR", rb"\x76\x2f\x31\x01"),
        ("Radiance HDR", rb"#\?(?:RADIANCE|RGBE)"),
        ("PostScript", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("PDF", rb"%PDF-"),
        ("WMF", rb"\xd7\xcd\xc6\x9a"),
        ("EMF", rb"\x01\0\0\0.{36} EMF"),
        (
            "SVG",
            rb"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!(?:--|DOCTYPE svg).{0,500}?>\s*){0,3}<svg\b",
        ),
        ("PPM", rb"P[1-7Ffy][\s0]"),
        ("XBM", rb"\s*#define\s+\S{1,200}_width\s"),
        ("XPM", rb"/\* XPM \*/"),
        ("SGI", rb"\x01\xda[\0\x01][\x01\x02]"),
        ("Sun raster", rb"\x59\xa6\x6a\x95"),
        ("PCX", rb"\x0a[\0\x02\x03\x04\x05][\0\x01][\x01\x02\x04\x08]"),
        ("DCX", rb"\xb1\x68\xde\x3a"),
        ("FLI", rb".{4}[\x11\x12]\xaf"),
        ("Pixar", rb"\x80\xe8\0\0"),
        ("GRIB", rb"GRIB"),
        ("HDF5", rb"\x89HDF\r\n\x1a\n"),
        ("MSP", rb"DanM|LinS"),
        ("MIC", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("IM", rb"Image type:|.{0,100}?\nImage type:"),
        ("GBR", rb".{4}\0\0\0[\x01\x02].{12}GIMP"),
        (
            "DIB",
            rb"[\x0c\x28\x40\x6c\x7c]\0\0\0.{8}\x01\0[\x01\x02\x04\x08\x10\x18\x20]\0",
        ),  # BMP without its header
        ("MPEG", rb"\0\0\x01\xb3"),
        # No signature of its own: a header whose four fields all make sense.
        (
            "TGA",
            rb".[\0\x01][\x01\x02\x03\x09\x0a\x0b].{5}.{4}(?!\0\0)..(?!\0\0)..[\x01\x08\x0f\x10\x18\x20]",
        ),
    )
)


def identify(body: bytes) -> str | None:
    """The name of the image format, or None."""
    head = body[:2048]  # the longest pattern, SVG behind comments, looks no further
    for name, pattern in _PATTERNS:
        if pattern.match(head):
            return name
    if body[-18:-2] == b"TRUEVISION-XFILE":
        return "TGA"
    return None
